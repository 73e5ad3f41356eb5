"""Reports of a run: a table on the terminal, JSON, and a self-contained HTML page."""

import argparse
import json
from html import escape
from pathlib import Path
from typing import Any

from fleet.terminal import paint, table
from tests.judge.figures import Second, numbers, seconds_of
from tests.judge.run import Result

_SHOWN = 5  # violations of one check on the terminal
_WIDTH, _LEFT, _PLOT, _ROW = 960, 60, 150, 13
_STYLE = (Path(__file__).parent / "report.css").read_text


def summary(result: Result) -> str:
    """Return the table of checks and the figures."""
    rows = [
        [
            paint("ok", "green") if verdict.passed else paint("WRONG", "red"),
            verdict.name,
            str(verdict.looked_at),
            str(len(verdict.violations)),
        ]
        for verdict in result.verdicts
    ]
    lines = [table(["", "check", "looked at", "violations"], rows), ""]
    for verdict in result.verdicts:
        lines += [f"  {verdict.name}: {each}" for each in list(verdict.violations)[:_SHOWN]]
        if not verdict.looked_at:
            lines.append(f"  {verdict.name}: no data to check, so the check failed")
    lines += [f"  {name:<28} {value}" for name, value in numbers(result).items()]
    errors = [done for done in result.run_data.faults if done.error]
    lines += [f"  not injected: {done.planned}: {_last(done.error)}" for done in errors]
    word = "All checks passed." if result.passed else "CHECKS FAILED."
    return "\n".join([*lines, paint(word, "green" if result.passed else "red")])


def write_reports(result: Result, folder: Path, arguments: argparse.Namespace) -> None:
    """Write `result.json` and `report.html` to `folder`."""
    facts = as_json(result) | {"replicas": arguments.replicas, "target": arguments.target}
    (folder / "result.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (folder / "report.html").write_text(page(result), encoding="utf-8")


def as_json(result: Result) -> dict[str, Any]:
    return {
        "seed": result.options.seed,
        "duration": result.options.duration,
        "clients": result.options.clients,
        "passed": result.passed,
        "figures": numbers(result),
        "checks": [
            {
                "check": verdict.name,
                "passed": verdict.passed,
                "looked_at": verdict.looked_at,
                "violations": list(verdict.violations)[:100],
            }
            for verdict in result.verdicts
        ],
        "faults": [
            {
                "what": str(done.planned),
                "started": round(done.started, 2),
                "ended": round(done.ended, 2),
                "hit": done.hit,
                "error": done.error,
            }
            for done in result.run_data.faults
        ],
    }


def page(result: Result) -> str:
    """Return the HTML report: checks, and a timeline of faults, throughput and latency."""
    seconds = seconds_of(result)
    verdicts = "".join(
        f"<tr class={'ok' if v.passed else 'wrong'}><td>{'ok' if v.passed else 'wrong'}"
        f"<td>{escape(v.name)}<td class=n>{v.looked_at}<td class=n>{len(v.violations)}"
        f"<td>{'<br>'.join(escape(str(each)) for each in list(v.violations)[:_SHOWN])}"
        for v in result.verdicts
    )
    figures = "".join(
        f"<tr><td>{escape(name)}<td class=n>{escape(str(value))}"
        for name, value in numbers(result).items()
    )
    word = "All checks passed" if result.passed else "Checks failed"
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f"<title>Run {result.options.seed}</title>"
        f"<style>{_STYLE('utf-8')}</style>"
        f"<h1 class={'ok' if result.passed else 'wrong'}>{word}</h1>"
        f"<p>Seed {result.options.seed}, {result.options.duration:.0f} s,"
        f" {result.options.clients} customers."
        f"<h2>Orders and faults</h2>{_chart(result, seconds)}"
        f"<h2>Checks</h2><table><tr><th><th>check<th>checked<th>violations<th>{verdicts}</table>"
        f"<h2>Figures</h2><table>{figures}</table></html>\n"
    )


def _chart(result: Result, seconds: list[Second]) -> str:
    faults = sorted(result.run_data.faults, key=lambda done: done.started)
    span = max([float(len(seconds)), *(done.ended for done in faults)], default=1.0)
    scale = (_WIDTH - _LEFT - 10) / max(span, 1.0)
    height = 2 * _PLOT + 60 + len(faults) * _ROW
    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {height}" role=img aria-label="Orders, latency and faults">',
        *_bars(seconds, scale),
        *_curves(seconds, scale),
        *_grid(span, scale, height),
    ]
    top = 2 * _PLOT + 50
    for number, done in enumerate(faults):
        x, wide = _LEFT + done.started * scale, max(2.0, (done.ended - done.started) * scale)
        y, kind = top + number * _ROW, escape(str(done.planned.fault))
        label = escape(str(done.planned)) + ("" if done.hit else ", no effect")
        # If a bar ends near the edge, its label is placed before it.
        right = x + wide > _WIDTH * 0.7
        at, anchor = (x - 4, "end") if right else (x + wide + 4, "start")
        parts.append(
            f'<rect class="fault {kind}{"" if done.hit else " none"}" x={x:.1f} y={y}'
            f" width={wide:.1f} height={_ROW - 3}><title>{label}</title></rect>"
            f"<text x={at:.1f} y={y + 8} text-anchor={anchor} class=small>{label}</text>"
        )
    return "".join([*parts, "</svg>"])


def _bars(seconds: list[Second], scale: float) -> list[str]:
    most = max((s.confirmed + s.refused + s.unknown for s in seconds), default=1) or 1
    parts = [_title(12, f"placed orders a second, at most {most}: confirmed, refused, unknown")]
    for number, second in enumerate(seconds):
        bottom = float(_PLOT)
        for name in ("confirmed", "refused", "unknown"):
            tall = getattr(second, name) / most * (_PLOT - 20)
            bottom -= tall
            parts.append(
                f"<rect class={name} x={_LEFT + number * scale:.1f} y={bottom:.1f}"
                f" width={max(1.0, scale - 1):.1f} height={tall:.1f} />"
            )
    return parts


def _curves(seconds: list[Second], scale: float) -> list[str]:
    most = max((second.p95 for second in seconds), default=1.0) or 1.0
    parts = [_title(_PLOT + 32, f"latency of a placed order, p50 and p95, at most {most:.0f} ms")]
    for name in ("p95", "p50"):
        points = " ".join(
            f"{_LEFT + (number + 0.5) * scale:.1f},"
            f"{2 * _PLOT + 20 - getattr(second, name) / most * (_PLOT - 30):.1f}"
            for number, second in enumerate(seconds)
            if second.confirmed
        )
        parts.append(f'<polyline class={name} points="{points}" />')
    return parts


def _grid(span: float, scale: float, height: float) -> list[str]:
    step = 10 if span <= 150 else 60
    return [
        f"<line x1={_LEFT + at * scale:.1f} x2={_LEFT + at * scale:.1f} y1=20 y2={height} />"
        f"<text x={_LEFT + at * scale + 2:.1f} y={2 * _PLOT + 36} class=small>{at} s</text>"
        for at in range(0, int(span) + 1, step)
    ]


def _title(y: float, text: str) -> str:
    return f"<text x={_LEFT} y={y}>{escape(text)}</text>"


def _last(error: str) -> str:
    return error.strip().splitlines()[-1][:160]
