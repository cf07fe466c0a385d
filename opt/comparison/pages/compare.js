"use strict";

// Tables: a click on a heading sorts by it, a second one the other way; what is unknown stays last.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = row => {
      const cell = row.cells[column];
      if (!cell.classList.contains("n")) return cell.textContent;
      return cell.dataset.v === undefined ? null : Number(cell.dataset.v);
    };
    const rows = [...table.tBodies[0].rows];
    rows.sort((one, other) => {
      const a = key(one), b = key(other);
      if (a === null || b === null) return (a === null) - (b === null);
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  }));
}

// Fronts: a scatter of two objectives that tells of the point nearest to the mouse.
const short = value => value === 0 ? "0" : Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3
  ? value.toExponential(1) : String(Number(value.toPrecision(4)));

// Numbers that the computer holds only just are counted in a power of ten: differences of them are no numbers.
function powerOf(values) {
  const largest = values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  return largest > 1e60 || (largest > 0 && largest < 1e-60) ? 10 ** Math.max(-300, Math.floor(Math.log10(largest))) : 1;
}

function ticks(low, high) {
  const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(f => f * power).find(s => s >= raw) || raw;
  const first = Math.ceil(low / step), found = [];
  for (let k = 0; k < 8 && (first + k) * step <= high + step * 1e-9; k++) found.push(Number(((first + k) * step).toPrecision(12)));
  return found;
}

function drawFront(element, data) {
  const canvas = element.querySelector("canvas"), about = element.querySelector(".about");
  const controls = element.querySelector(".controls"), paper = canvas.getContext("2d");
  const shown = data.groups.map(() => true);
  const one = data.objectives.length === 1;
  const axes = one ? [null, 0] : [0, 1];
  let onlyJoint = false, logarithmic = false, chosen = null, places = [];

  const label = (text, input) => {
    const box = document.createElement("label");
    box.append(input, " " + text);
    controls.append(box);
    return input;
  };
  const tick = (text, initial, change, colour) => {
    const input = document.createElement("input");
    input.type = "checkbox";
    input.checked = initial;
    input.addEventListener("change", () => { change(input.checked); draw(); });
    label(text, input).parentElement.style.color = colour || "";
  };
  if (!one) ["across", "up"].forEach((text, k) => {
    const select = document.createElement("select");
    data.objectives.forEach((name, i) => select.add(new Option(name, i, false, i === axes[k])));
    select.addEventListener("change", () => { axes[k] = Number(select.value); draw(); });
    label(text, select);
  });
  data.groups.forEach((group, k) => tick(group.name, true, on => { shown[k] = on; }, group.colour));
  tick("only the joint front", false, on => { onlyJoint = on; });
  tick("logarithmic", false, on => { logarithmic = on; });
  if (data.points.length < data.n_all) controls.append(`${data.points.length} of ${data.n_all} solutions, spread along each front`);

  const groupsOf = point => [...new Set(data.owners[point.j].map(r => data.runs[r].g))].sort((a, b) => a - b);
  const others = point => {
    const names = data.owners[point.j].filter(r => r !== point.r)
      .map(r => `${data.groups[data.runs[r].g].name} seed ${data.runs[r].seed}`);
    return names.slice(0, 8).join(", ") + (names.length > 8 ? ` and ${names.length - 8} more` : "");
  };

  function draw() {
    const { width, height } = canvas, left = 74, bottom = 46, top = 12, right = 16;
    const value = (point, axis) => axis === null ? point.g : point.f[axis];
    const isJoint = point => point.j !== null;
    const points = data.points.filter(p => shown[p.g] && (isJoint(p) || !onlyJoint));
    paper.clearRect(0, 0, width, height);
    paper.font = "12px system-ui, sans-serif";
    places = [];
    if (!points.length) { paper.fillText("nothing to show", width / 2 - 40, height / 2); return; }
    const scales = axes.map((axis, k) => {
      const plain = points.map(p => value(p, axis)), unit = powerOf(plain), values = plain.map(v => v / unit);
      const least = values.reduce((a, b) => Math.min(a, b)), most = values.reduce((a, b) => Math.max(a, b));
      const isLog = logarithmic && axis !== null && least > 0 && most > least;
      const bend = isLog ? Math.log10 : v => v;
      let low = bend(least), high = bend(most);
      // equal values, or values that differ in their last digits alone, need room to stand in
      const isFlat = high - low <= 1e-12 * Math.max(Math.abs(low), Math.abs(high));
      const room = isFlat ? Math.abs(high) * 0.1 || 1 : (high - low) * 0.04;
      low -= room; high += room;
      const from = k ? height - bottom : left, to = k ? top : width - right;
      return { isLog, low, high, unit, place: v => from + (bend(v / unit) - low) / (high - low) * (to - from) };
    });
    paper.strokeStyle = "#e2e2e2";
    paper.fillStyle = "#333";
    scales.forEach((scale, k) => {
      const marks = axes[k] === null ? data.groups.map((_, g) => g).filter(g => shown[g])
        : ticks(scale.low, scale.high).map(v => (scale.isLog ? 10 ** v : v) * scale.unit);
      for (const mark of marks) {
        const at = scale.place(mark), text = axes[k] === null ? data.groups[mark].name : short(mark);
        paper.beginPath();
        if (k) { paper.moveTo(left, at); paper.lineTo(width - right, at); } else { paper.moveTo(at, top); paper.lineTo(at, height - bottom); }
        paper.stroke();
        paper.textAlign = k ? "right" : "center";
        if (k) paper.fillText(text, left - 6, at + 4); else paper.fillText(text, at, height - bottom + 16);
      }
    });
    paper.textAlign = "center";
    if (axes[0] !== null) paper.fillText(data.objectives[axes[0]], (left + width - right) / 2, height - 10);
    paper.save();
    paper.translate(14, (top + height - bottom) / 2);
    paper.rotate(-Math.PI / 2);
    paper.fillText(data.objectives[axes[1]], 0, 0);
    paper.restore();
    for (const point of [...points.filter(p => !isJoint(p)), ...points.filter(isJoint)]) {
      const x = scales[0].place(value(point, axes[0])), y = scales[1].place(value(point, axes[1]));
      // a point of the joint front that several groups have is a disc of all their colours
      const groups = isJoint(point) && axes[0] !== null ? groupsOf(point).filter(g => shown[g]) : [point.g];
      const radius = !isJoint(point) ? 2.4 : groups.length > 1 ? 5 : 3.4, turn = 2 * Math.PI / groups.length;
      paper.globalAlpha = isJoint(point) ? 0.95 : 0.3;
      groups.forEach((group, k) => {
        paper.fillStyle = data.groups[group].colour;
        paper.beginPath();
        if (groups.length > 1) paper.moveTo(x, y);
        paper.arc(x, y, radius, k * turn - Math.PI / 2, (k + 1) * turn - Math.PI / 2);
        paper.fill();
      });
      places.push({ x, y, point });
    }
    paper.globalAlpha = 1;
    if (chosen) {
      const place = places.find(p => p.point === chosen);
      if (place) {
        paper.strokeStyle = "#000";
        paper.beginPath();
        paper.arc(place.x, place.y, 6, 0, 7);
        paper.stroke();
      }
    }
  }

  canvas.addEventListener("mousemove", event => {
    const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
    const x = (event.clientX - box.left) * ratio, y = (event.clientY - box.top) * ratio;
    let best = null, nearest = 20 ** 2;
    for (const place of places) {
      const distance = (place.x - x) ** 2 + (place.y - y) ** 2;
      if (distance <= nearest) { nearest = distance; best = place.point; }
    }
    if (!best || best === chosen) return;
    chosen = best;
    const run = data.runs[best.r], lines = data.objectives.map((name, k) => `${name}: ${short(best.f[k])}`);
    const also = best.j === null ? "" : others(best), shared = also ? [`found too by ${also}`] : [];
    about.textContent = [`${data.groups[best.g].name}, seed ${run.seed}`, run.name,
      best.j === null ? "dominated by other runs' solutions" : "on the joint front", ...shared, "", ...lines, "", best.p].join("\n");
    draw();
  });
  draw();
}

const fronts = JSON.parse(document.getElementById("fronts").textContent);
for (const element of document.querySelectorAll(".front")) drawFront(element, fronts[Number(element.dataset.problem)]);
