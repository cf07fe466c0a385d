"""The page: whole by itself, safe with any text, and working in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from pymoo.problems import get_problem

import opt
from opt.compare import compare
from opt.comparison.output_files import write_comparison

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NASTY = "</script><b>&\"'é"

PROBE = """<script>
// the groups' own colours among the pixels, by how often
function hues(paper, canvas) {
  const data = paper.getImageData(0, 0, canvas.width, canvas.height).data, count = {};
  for (let k = 0; k < data.length; k += 4) {
    if (data[k + 3] < 230) continue;
    const key = [data[k], data[k + 1], data[k + 2]].join();
    count[key] = (count[key] || 0) + 1;
  }
  return count;
}
window.addEventListener("load", () => {
  const told = {errors: window.failures, tables: document.querySelectorAll("table").length};
  const head = [...document.querySelectorAll("th")].find(th => th.textContent === "hypervolume");
  const table = head.closest("table"), column = head.cellIndex;
  const read = () => [...table.tBodies[0].rows].map(row => Number(row.cells[column].dataset.v));
  head.click(); told.ascending = read();
  head.click(); told.descending = read();
  const canvas = document.querySelector("canvas"), box = canvas.getBoundingClientRect();
  const about = document.querySelector(".about");
  for (let x = 0; x < box.width && about.textContent.startsWith("Point"); x += 4)
    for (let y = 0; y < box.height && about.textContent.startsWith("Point"); y += 4)
      canvas.dispatchEvent(new MouseEvent("mousemove", {clientX: box.left + x, clientY: box.top + y}));
  told.about = about.textContent;
  const data = JSON.parse(document.getElementById("fronts").textContent)[0];
  told.joint = data.points.filter(p => p.j !== null).map(p => data.owners[p.j].map(r => data.runs[r].g));
  told.hues = hues(canvas.getContext("2d"), canvas);
  for (let x = 0; x < box.width && !about.textContent.includes("found too"); x += 4)
    for (let y = 0; y < box.height && !about.textContent.includes("found too"); y += 4)
      canvas.dispatchEvent(new MouseEvent("mousemove", {clientX: box.left + x, clientY: box.top + y}));
  told.shared = about.textContent;
  const paper = canvas.getContext("2d"), ink = () => paper.getImageData(0, 0, canvas.width, canvas.height).data
    .reduce((sum, value, k) => sum + (k % 4 === 3 && value > 0), 0);
  told.before = ink();
  document.querySelectorAll(".controls input[type=checkbox]").forEach(input => input.click());
  told.after = ink();
  const select = document.querySelector(".controls select");
  select.value = "1";
  select.dispatchEvent(new Event("change"));
  told.images = [...document.images].every(image => image.naturalWidth > 0);
  told.width = document.documentElement.scrollWidth <= document.documentElement.clientWidth;
  const answer = document.createElement("pre");
  answer.id = "answer";
  answer.textContent = JSON.stringify(told);
  document.body.append(answer);
});
</script>"""


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opt.plots.run_pictures.plot_runs", lambda runs, *, out=None: runs[0].path)
        for algo in ("nsga2", "random"):
            for seed in (1, 2):
                run = opt.minimize(get_problem("zdt1"), algo, seed=seed, n_gen=3, out=out)
                front = run.front.rename(columns={"x1": "layer"}).astype({"layer": object})
                front["layer"] = NASTY
                front.to_csv(run.path / "front.csv", index=False)
                manifest = json.loads((run.path / "manifest.json").read_text()) | {"command": f"solve {NASTY} {seed}"}
                (run.path / "manifest.json").write_text(json.dumps(manifest))
    # what the first run of one algorithm found, the first of the other found too
    first = {algo: next(out.glob(f"zdt1-{algo}-s1-*")) for algo in ("nsga2", "random")}
    fronts = [pd.read_csv(path / "front.csv") for path in first.values()]
    for path in first.values():
        pd.concat(fronts, ignore_index=True).to_csv(path / "front.csv", index=False)
    verdict = compare(opt.list_runs(out))
    return write_comparison(verdict, out / "comparison", command=f"compare {NASTY}")[0]


class Links(HTMLParser):
    """Everything that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]


def test_page_loads_nothing_from_elsewhere(written):
    page = Links()
    text = written.read_text(encoding="utf-8")
    page.feed(text)
    assert page.found and all(link.startswith("data:image/png;base64,") for link in page.found)
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest", text)
    assert "link" not in page.tags


def test_page_holds_any_text_as_text(written):
    text = written.read_text(encoding="utf-8")
    page = Links()
    page.feed(text)
    assert page.tags.count("script") == 2
    assert text.count("</script>") == 2
    assert "solve &lt;/script&gt;&lt;b&gt;&amp;" in text
    data = json.loads(re.search(r'id="fronts">(.*?)</script>', text, re.DOTALL)[1])
    assert f"layer: {NASTY}" in data[0]["points"][0]["p"]


def test_page_works_in_a_browser(written, tmp_path):
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is installed: the page cannot be tried in a browser")
    listen = "<script>window.failures = []; window.onerror = text => window.failures.push(text);</script>"
    text = written.read_text(encoding="utf-8")
    probed = tmp_path / "probed.html"
    probed.write_text(text.replace("<head>", f"<head>{listen}").replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,900", "--virtual-time-budget=5000"]
    command = [browser, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", probed.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    answer = re.search(r'<pre id="answer">(.*?)</pre>', found.stdout, re.DOTALL)
    assert answer, found.stderr[-2000:]
    told = json.loads(answer[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert told["errors"] == []
    assert told["ascending"] == sorted(told["ascending"]) and len(set(told["ascending"])) == 3
    assert told["descending"] == told["ascending"][::-1]
    assert f"layer: {NASTY}" in told["about"] and re.search(r"(nsga2|random), seed [12]\nzdt1-", told["about"])
    assert told["before"] > told["after"] > 0
    # a point that both have says so, whichever run's is asked about, and shows both colours
    assert any({0, 1} <= set(groups) for groups in told["joint"])
    assert all(told["hues"].get(colour, 0) > 20 for colour in ("0,114,178", "213,94,0"))
    assert re.search(r"found too by (nsga2|random) seed 1", told["shared"])
    assert told["images"] and told["width"]
