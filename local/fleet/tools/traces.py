"""``make traces``: one trace as a tree in the terminal."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import quote

from fleet.emulators.traces.store import Row, Span, Trace
from fleet.errors import FleetError
from fleet.processes.program import HOST
from fleet.terminal import paint, say

_BAR = 30
_WAIT_SECONDS = 5.0  # for a trace that has not arrived
_SETTLED_SECONDS = 2.0  # services export a span within this time after its end
_POLL_SECONDS = 0.1


def show(port: int, wanted: str, seconds: float = _WAIT_SECONDS) -> None:
    """Print the trace with this trace id or order number; the default is the latest order's.

    Waits up to `seconds` for a trace that has not arrived.
    """
    trace = await_trace(port, wanted or _latest(port), seconds)
    rows = trace.rows()
    services = max(len(row.span.service) for row in rows)
    names = max(2 * row.depth + len(row.span.name) for row in rows)
    say(
        f"{paint(trace.name, 'bold')}  {trace.order}  {len(rows)} spans,"
        f" {trace.milliseconds:.1f} ms until the end of the last span"
    )
    say(paint(f"{trace.id}  http://{HOST}:{port}/trace/{trace.id}", "dim"))
    for row in rows:
        name = "  " * row.depth + row.span.name
        text = f"{row.span.service:<{services}}  {name:<{names}}  {row.span.milliseconds:8.1f} ms"
        say(f"{paint(text, 'red') if row.span.failed else text}  {_bar(row, trace)}")


def await_trace(port: int, wanted: str, seconds: float) -> Trace:
    """Fetch a trace. Wait up to `seconds` for its first span and until it is complete.

    Raises FleetError if no span arrives.
    """
    deadline = time.monotonic() + seconds
    announced = False
    while True:
        try:
            trace = fetch(port, wanted)
            if time.time() - trace.ended / 1e9 >= _SETTLED_SECONDS or time.monotonic() >= deadline:
                return trace
        except NoTrace:
            if time.monotonic() >= deadline:
                raise
            if not announced:
                say(f"The trace of {wanted!r} has not arrived; waiting up to {seconds:.0f} s.")
                announced = True
        time.sleep(_POLL_SECONDS)


class NoTrace(FleetError):
    """The receiver has no span of the trace."""


def fetch(port: int, wanted: str) -> Trace:
    """Return the trace with this trace id or order number; raise NoTrace if there is none."""
    answer = _get(port, f"/api/traces/{quote(wanted, safe='')}")
    if answer is None:
        raise NoTrace(
            f"There is no trace of {wanted!r}: its spans have not arrived or were discarded."
        )
    trace = Trace(answer["trace_id"])
    trace.spans = {span["span_id"]: Span(**span) for span in answer["spans"]}
    return trace


def _latest(port: int) -> str:
    """Return the id of the latest trace of an order, else of the latest trace."""
    traces = _get(port, "/api/traces") or []
    chosen = [trace for trace in traces if trace["order"]] or traces
    if not chosen:
        raise FleetError("There are no traces yet. Place an order first: see README.md.")
    return str(chosen[0]["trace_id"])


def _bar(row: Row, trace: Trace) -> str:
    """Draw the span's position within the trace's duration."""
    whole = max(1, trace.ended - trace.started)
    left = int((row.span.started - trace.started) / whole * _BAR)
    width = max(1, round((row.span.ended - row.span.started) / whole * _BAR))
    left = min(left, _BAR - 1)
    width = min(width, _BAR - left)
    return paint("." * left, "dim") + "#" * width + paint("." * (_BAR - left - width), "dim")


def _get(port: int, path: str) -> Any:
    """GET JSON from the receiver; return None unless the status is 200."""
    connection = http.client.HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise FleetError(
            f"The trace receiver does not answer on port {port} ({error}). See: make status"
        ) from error
    finally:
        connection.close()
    return json.loads(body) if response.status == 200 else None
