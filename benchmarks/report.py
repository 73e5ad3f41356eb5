"""The report of a run: a table, JSON for comparison with the next run, and an HTML page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, Measured, Series
from fleet.terminal import paint, table
from tests.judge.checks import CheckResult

_WIDTH, _HEIGHT, _LEFT = 960, 220, 60
_COLOURS = ("#2a78c2", "#c2571a", "#2f8f4e", "#9c3fb0", "#b0902a", "#c23a55", "#555")
_STYLE = Path(__file__).parent / "report.css"


def newest(folder: Path) -> dict[str, float]:
    """Return the figures of the newest earlier run by key."""
    runs = sorted(folder.glob("*.json"))
    if not runs:
        return {}
    figures: Sequence[Mapping[str, Any]] = json.loads(runs[-1].read_text())["figures"]
    return {f"{each['scenario']}: {each['name']}": each["value"] for each in figures}


def terminal(measured: Measured, before: Mapping[str, float]) -> str:
    """Format the figures with their goals and their change since the last run."""
    rows = [
        [_mark(each), each.key, _number(each.value), each.unit, str(each.goal or ""),
         _change(each, before)]
        for each in measured.figures
    ]  # fmt: skip
    return table(["", "figure", "value", "", "goal", "before"], rows)


def write(
    measured: Measured, verdicts: Sequence[CheckResult], before: Mapping[str, float], name: str,
    folder: Path,
) -> Path:  # fmt: skip
    """Write `<name>.json` and `report.html` to `folder`; return the path of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "run": name,
        "figures": [asdict(each) for each in measured.figures],
        "series": [asdict(each) for each in measured.series],
        "notes": measured.notes,
        "checks": [
            {"check": v.name, "looked_at": v.looked_at, "violations": list(v.violations)[:100]}
            for v in verdicts
        ],
    }
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    page = folder / "report.html"
    page.write_text(_page(measured, verdicts, before, name), encoding="utf-8")
    return page


def _page(
    measured: Measured, verdicts: Sequence[CheckResult], before: Mapping[str, float], name: str
) -> str:
    goals = [each for each in measured.figures if each.goal]
    met = sum(each.met for each in goals)
    wrong = [verdict for verdict in verdicts if not verdict.passed]
    state = "Nothing was lost" if verdicts and not wrong else "The state is wrong"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Benchmarks</title>",
        f"<style>{_STYLE.read_text(encoding='utf-8')}</style>",
        f"<h1>{met} of {len(goals)} goals met</h1><p>{escape(name)}.",
        f" {state if verdicts else 'No order was placed'}.",
        f"<h2>Goals</h2>{_bars(goals)}",
        *(f"<h2>{escape(_title(each.title))}</h2>{_curves(each)}" for each in measured.series),
        "<h2>All figures</h2><table><tr><th><th>figure<th>value<th><th>goal<th>before",
        *(_row(each, before) for each in measured.figures),
        "</table><h2>The state afterwards</h2><table><tr><th>check<th>looked at<th>violations",
        *(f"<tr class={'ok' if v.passed else 'wrong'}><td>{escape(v.name)}<td class=n>"
          f"{v.looked_at}<td class=n>{len(v.violations)}" for v in verdicts),
        "</table><h2>Notes</h2><ul>",
        *(f"<li>{escape(note)}" for note in measured.notes),
        "</ul></html>\n",
    ]  # fmt: skip
    return "".join(parts)


def _title(title: str) -> str:
    return title[:1].upper() + title[1:]


def _row(each: Figure, before: Mapping[str, float]) -> str:
    kind = "" if each.goal is None else "wrong" if each.missed else "ok"
    return (
        f"<tr class='{kind}'><td>{_state(each)}"
        f"<td>{escape(each.key)}<td class=n>{_number(each.value)}<td>{each.unit}"
        f"<td>{each.goal or ''}<td>{_change(each, before)}"
    )


def _bars(goals: Sequence[Figure]) -> str:
    """Draw each figure as a share of its goal's bound, which is the vertical line."""
    left, row = 430, 26
    scale = (_WIDTH - left) / 2
    middle = left + scale
    parts = [f'<svg viewBox="0 0 {_WIDTH} {len(goals) * row + 10}" role=img aria-label="Goals">']
    for number, each in enumerate(goals):
        assert each.goal is not None  # noqa: S101
        y = number * row + 4
        wide = min(2.0, each.value / each.goal.bound) * scale
        parts.append(
            f"<text x={left - 8} y={y + 14} text-anchor=end class=small>{escape(each.key)}"
            "</text>"
            f"<rect class={'wrong' if each.missed else 'ok'} x={left} y={y} width={wide:.0f}"
            f" height={row - 8} />"
            f"<text x={left + 6} y={y + 14} class=in>{_number(each.value)} {each.unit}"
            f" ({each.goal})</text>"
        )
    parts.append(f"<line x1={middle:.0f} x2={middle:.0f} y1=0 y2={len(goals) * row} />")
    return "".join([*parts, "</svg>"])


def _curves(series: Series) -> str:
    points = [point for line in series.lines.values() for point in line]
    most_x = max((x for x, _ in points), default=1) or 1
    most_y = max((y for _, y in points), default=1) or 1
    legend = ["<p class=legend>"]
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 22}" role=img aria-label="{escape(series.title)}">',
        f"<text x=4 y=16 class=small>{_number(most_y)} {series.unit}</text>",
        f"<text x={_LEFT - 8} y={_HEIGHT} text-anchor=end class=small>0</text>",
        f"<text x={_WIDTH} y={_HEIGHT + 16} text-anchor=end class=small>{_number(most_x)}</text>",
        f"<line x1={_LEFT} x2={_WIDTH} y1={_HEIGHT} y2={_HEIGHT} />",
    ]
    for number, (name, line) in enumerate(series.lines.items()):
        drawn = " ".join(
            f"{_LEFT + x / most_x * (_WIDTH - _LEFT - 10):.1f},{_HEIGHT - y / most_y * 200:.1f}"
            for x, y in line
        )
        colour = _COLOURS[number % len(_COLOURS)]
        parts.append(f'<polyline points="{drawn}" stroke="{colour}" />')
        legend.append(f'<span><b style="background:{colour}"></b>{escape(name)}</span>')
    return "".join([*parts, "</svg>", *legend, "</p>"])


def _state(each: Figure) -> str:
    if each.goal is None:
        return ""
    return "met" if each.met else "missed" if each.missed else "acceptable"


def _mark(each: Figure) -> str:
    styles = {"met": "green", "acceptable": "yellow", "missed": "red"}
    state = _state(each)
    return paint(state.upper() if state == "missed" else state, styles[state]) if state else ""


def _change(each: Figure, before: Mapping[str, float]) -> str:
    earlier = before.get(each.key)
    if not earlier:
        return ""
    return f"{_number(earlier)} ({(each.value / earlier - 1) * 100:+.0f} %)"


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
