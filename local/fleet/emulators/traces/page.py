"""HTML of the pages: the latest traces, and one trace as a tree. Without scripts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from html import escape
from importlib import resources

from fleet.emulators.traces.store import Row, Trace

_STYLE = resources.files("fleet.emulators.traces").joinpath("page.css").read_text(encoding="utf-8")
_SHOWN = 200


def latest(traces: Iterable[Trace]) -> str:
    """Return the page of the latest traces."""
    rows = "".join(_line(trace) for _, trace in zip(range(_SHOWN), traces, strict=False))
    table = (
        "<table><thead><tr><th>When<th>What<th>Order<th>Services"
        f"<th class=number>Spans<th class=number>ms</thead><tbody>{rows}</tbody></table>"
    )
    nothing = "<p class=soft>No traces yet. Place an order: <code>make demo</code>.</p>"
    return _page("Traces", table if rows else nothing, refresh=True)


def one(trace: Trace) -> str:
    """Return the page of one trace."""
    rows = "".join(_branch(row, trace) for row in trace.rows())
    about = (
        f"<p><a href='/'>All traces</a> <span class=soft>{escape(trace.id)}"
        f" &middot; {escape(trace.order)} &middot; {_when(trace)}</span></p>"
        f"<p>{len(trace.spans)} spans, {len(trace.services)} services,"
        f" {trace.milliseconds:.1f} ms until the last of it</p>"
    )
    table = (
        "<table class=tree><thead><tr><th>Service<th>Span<th class=number>ms<th class=bars>Time"
        f"</thead><tbody>{rows}</tbody></table>"
    )
    return _page(trace.name, about + table)


def missing() -> str:
    """Return the page for an unknown trace."""
    return _page("Not here", "<p><a href='/'>All traces</a></p><p>This trace is not here.</p>")


def _line(trace: Trace) -> str:
    marked = " class=failed" if trace.failed else ""
    return (
        f"<tr{marked}><td class=soft>{_when(trace)}"
        f"<td><a href='/trace/{escape(trace.id)}'>{escape(trace.name)}</a>"
        f"<td>{escape(trace.order)}<td class=soft>{escape(', '.join(trace.services))}"
        f"<td class=number>{len(trace.spans)}<td class=number>{trace.milliseconds:.1f}"
    )


def _branch(row: Row, trace: Trace) -> str:
    span = row.span
    whole = max(1, trace.ended - trace.started)
    left = (span.started - trace.started) / whole * 100
    width = max(0.2, (span.ended - span.started) / whole * 100)
    details = "".join(
        f"<dt>{escape(name)}<dd>{escape(value)}" for name, value in span.attributes.items()
    )
    marked = " class=failed" if span.failed else ""
    return (
        f"<tr{marked}><td class=soft>{escape(span.service)}"
        f"<td style='padding-left:{row.depth * 1.1 + 0.6:.1f}rem'><details>"
        f"<summary>{escape(span.name)}</summary><dl><dt>kind<dd>{escape(span.kind)}{details}</dl>"
        f"</details><td class=number>{span.milliseconds:.1f}"
        f"<td class=bars><div class='bar {escape(span.kind)}'"
        f" style='margin-left:{left:.2f}%;width:{min(width, 100 - left):.2f}%'></div>"
    )


def _when(trace: Trace) -> str:
    return f"{datetime.fromtimestamp(trace.started / 1e9).astimezone():%H:%M:%S}"


def _page(title: str, body: str, *, refresh: bool = False) -> str:
    again = "<meta http-equiv=refresh content=5>" if refresh else ""
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"{again}<title>{escape(title)}</title><link rel=icon href='data:,'>"
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>"
    )
