"""A comparison as one page that needs nothing else: tables that sort, a front to point at, the pictures inside."""

from __future__ import annotations

import base64
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from opt.comparison.group_plots import styles
from opt.comparison.indicators import Comparison, MeasuredRun
from opt.comparison.report import method
from opt.comparison.verdict import Verdict, file_names
from opt.console.terminal import printable
from opt.runs.front_files import spread

MOST_POINTS = 4000
"""Most points of a problem that the page can be asked about; more are thinned out, evenly along each run's front."""
MOST_PARAMETERS = 40
"""Most columns of a front that show on hover."""

LONG = 60
"""Letters of a cell that may be broken into lines."""

PICTURES = {
    "attainment": "Empirical attainment: the line is what half of the runs attain, the band from 25 % to 75 %.",
    "growth": "Hypervolume of everything evaluated: the median of the runs, and their quartiles as a band.",
    "indicators": "Indicators of the final fronts: median, quartiles, and each run as a point.",
    "joint-front": "Every run's final front, and the nondominated set of them all; a point that several groups found "
    "has the colours of all of them.",
}


def page(verdict: Verdict, pictures: Mapping[str, bytes], *, command: str | None = None) -> str:
    """The page.

    Args:
        verdict: What was found.
        pictures: PNG files by name, as `opt.comparison.output_files.draw` names them.
        command: The command that made the page.
    """
    resources = files("opt.comparison") / "pages"
    style, script = ((resources / f"compare.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    body = ["<h1>Comparison</h1>"]
    if command:
        body.append(f"<p>Made by <code>{_text(command)}</code></p>")
    # a single problem's warnings stand at its head anyway, which is then the head of the page
    body.append(_warnings(verdict.all_warnings if len(verdict.comparisons) > 1 else verdict.warnings))
    points = []
    names = file_names([c.problem for c in verdict.comparisons])
    for k, comparison in enumerate(verdict.comparisons):
        name = names[comparison.problem]
        own = {about: pictures[f"{name}-{about}"] for about in PICTURES if f"{name}-{about}" in pictures}
        body.append(_section(comparison, verdict, own, number=k))
        points.append(points_of(comparison))
    if verdict.ranks:
        body.append("<section><h2>Over the problems</h2>")
        body += [_table(verdict.tables.ranks), _table(verdict.tables.nemenyi)]
        body += [_picture(pictures[f"ranks-{measure}"], f"mean ranks by {measure}") for measure in verdict.ranks]
        body.append("</section>")
    data = json.dumps(points, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Comparison: {_text(', '.join(c.problem for c in verdict.comparisons))}</title>\n"
        f"<style>\n{style}</style></head>\n<body>\n" + "\n".join(body) + "\n"
        f'<script type="application/json" id="fronts">{_embedded(data)}</script>\n<script>\n{script}</script>\n'
        "</body></html>\n"
    )


def points_of(comparison: Comparison) -> dict[str, Any]:
    """The points of all runs' fronts with what shows on hover, as plain data.

    Returns:
        `objectives` (labels), `groups` (name and colour), `runs` (name, seed and group), `owners` (for each point of
        the joint front the runs that have it), and `points`: group, run, the point of the joint front or null,
        objective values, and the other columns of front.csv as text.
    """
    look = styles(comparison.all_groups or comparison.groups)
    each = max(1, MOST_POINTS // max(1, len(comparison.runs)))
    names = [o.name for o in comparison.objectives]
    points = []
    n_all = 0
    owners: list[list[int]] = [[] for _ in comparison.joint]
    for number, m in enumerate(comparison.runs):
        n_all += len(m.F)
        for k in np.unique(m.joint_points[m.is_joint]):
            owners[k].append(number)
        about = [str(c) for c in m.front.columns if c not in names][:MOST_PARAMETERS]
        for i in spread(m.F, each):
            row = m.front.iloc[int(i)]
            points.append(
                {
                    "g": comparison.groups.index(m.group),
                    "r": number,
                    "j": int(m.joint_points[i]) if m.is_joint[i] else None,
                    "f": [float(row[name]) for name in names],
                    "p": "\n".join(f"{printable(name)}: {_cell(row[name])}" for name in about),
                }
            )
    return {
        "objectives": [printable(o.label) for o in comparison.objectives],
        "groups": [{"name": printable(group), "colour": look[group].colour} for group in comparison.groups],
        "runs": [
            {
                "name": printable(m.run.path.name),
                "seed": m.run.manifest["seed"],
                "g": comparison.groups.index(m.group),
            }
            for m in comparison.runs
        ],
        "owners": owners,
        "points": points,
        "n_all": n_all,
    }


def _section(comparison: Comparison, verdict: Verdict, pictures: Mapping[str, bytes], *, number: int) -> str:
    tables = verdict.tables

    def own(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["problem"] == comparison.problem].drop(columns=["problem", "warnings"], errors="ignore")

    parts = [f"<section><h2>{_text(comparison.problem)}</h2>", _warnings(comparison.warnings)]
    parts += [f"<p class=method>{_text(text[0].upper() + text[1:])}.</p>" for text in method(comparison)]
    summary = own(tables.summary)
    is_target = summary["measure"].str.contains("_to_")
    parts += ["<h3>Groups</h3>", _table(summary[~is_target].dropna(axis="columns", how="all"))]
    parts += [
        "<h3>Targets</h3><p>Shares of the joint front's hypervolume; medians are of the runs that got there, ",
    ]
    parts += ["ert counts what the others spent too.</p>", _table(summary[is_target])]
    if len(own(tables.tests)):
        parts += ["<h3>Tests</h3>", _table(own(tables.tests))]
    parts.append("<h3>The runs' fronts</h3>")
    parts.append(
        f'<div class=front data-problem="{number}"><div class=controls></div><canvas width=760 height=480></canvas>'
        "<pre class=about>Point at a solution.</pre></div>"
    )
    parts += [_picture(data, PICTURES[about]) for about, data in pictures.items()]
    runs = own(tables.indicators).drop(columns=["run", "command"])
    parts += ["<h3>Runs</h3>", _table(runs), "<h3>Commands</h3>", _commands(comparison.runs), "</section>"]
    return "\n".join(parts)


def _commands(runs: Sequence[MeasuredRun]) -> str:
    rows = []
    for m in runs:
        command = m.run.manifest.get("command") or "opt.minimize, from Python"
        rows.append({"run": m.run.path.name, "command": command})
    return _table(pd.DataFrame(rows))


def _warnings(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    items = "".join(f"<li>{_text(text)}</li>" for text in texts)
    return f"<div class=warnings role=note><b>Read this first</b><ul>{items}</ul></div>"


def _picture(data: bytes, about: str) -> str:
    source = base64.b64encode(data).decode()
    text = _text(about)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{source}"><figcaption>{text}</figcaption></figure>'


def _table(table: pd.DataFrame) -> str:
    """A table whose columns sort on a click; a number's whole value is in `data-v`."""
    head = "".join(f"<th>{_text(str(name).replace('_', ' '))}</th>" for name in table.columns)
    rows = []
    for row in table.itertuples(index=False):
        cells = []
        for value in row:
            if isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_)):
                # as JavaScript reads numbers: its infinity has another name
                number = "" if math.isnan(value) else f' data-v="{json.dumps(float(value))}"'
                cells.append(f"<td class=n{number}>{_cell(value)}</td>")
            else:
                long = " class=long" if len(str(value)) > LONG else ""
                cells.append(f"<td{long}>{_text(value)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def _text(value: object) -> str:
    """Text of any origin for the page: nothing in it is markup, or turns the direction of what stands around it."""
    return html.escape(printable(value), quote=True)


def _cell(value: Any) -> str:
    if isinstance(value, (float, np.floating)):
        return "" if math.isnan(value) else f"{value:.5g}"
    return printable(value)


def _embedded(data: str) -> str:
    """JSON that no text in it can end the script element with."""
    return data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
