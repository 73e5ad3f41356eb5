"""The latest traces in memory, bounded by number of spans; the oldest are removed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

ORDER_NUMBER = "order.number"
"""Attribute with the order number, set by order-service."""

_LARGEST = 2_000  # stored spans of one trace


@dataclass(frozen=True, slots=True)
class Span:
    """One span. Times are nanoseconds since 1970."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    started: int
    ended: int
    failed: bool = False
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def milliseconds(self) -> float:
        """Duration of the span."""
        return (self.ended - self.started) / 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """A span and its depth in the tree."""

    span: Span
    depth: int


class Trace:
    """The received spans of one trace."""

    def __init__(self, trace_id: str) -> None:
        """Start without spans."""
        self.id = trace_id
        self.spans: dict[str, Span] = {}

    @property
    def started(self) -> int:
        """Start of the first span."""
        return min(span.started for span in self.spans.values())

    @property
    def ended(self) -> int:
        """End of the last span."""
        return max(span.ended for span in self.spans.values())

    @property
    def milliseconds(self) -> float:
        """Duration from the first start to the last end."""
        return (self.ended - self.started) / 1e6

    @property
    def name(self) -> str:
        """Name of the root span, or of the first span."""
        return self.rows()[0].span.name

    @property
    def failed(self) -> bool:
        """Whether any span failed."""
        return any(span.failed for span in self.spans.values())

    @property
    def services(self) -> list[str]:
        """Services of the trace, in order of appearance."""
        ordered = sorted(self.spans.values(), key=lambda span: span.started)
        return list(dict.fromkeys(span.service for span in ordered))

    @property
    def order(self) -> str:
        """Order number of the trace, or empty."""
        named = (span.attributes.get(ORDER_NUMBER, "") for span in self.spans.values())
        return next(filter(None, named), "")

    def rows(self) -> list[Row]:
        """Return the spans as a tree. A span with an unknown parent is a root."""
        below: dict[str, list[Span]] = {}
        for span in sorted(self.spans.values(), key=lambda span: span.started):
            parent = span.parent_id if span.parent_id in self.spans else ""
            below.setdefault(parent, []).append(span)
        rows: list[Row] = []
        todo = [Row(span, 0) for span in reversed(below.get("", []))]
        while todo:
            row = todo.pop()
            rows.append(row)
            children = below.pop(row.span.span_id, [])
            todo += [Row(child, row.depth + 1) for child in reversed(children)]
        return rows or [Row(span, 0) for span in self.spans.values()]  # a cycle has no root


class Store:
    """All stored traces. Thread-safe."""

    def __init__(self, limit: int) -> None:
        """``limit`` is the maximum number of stored spans."""
        self._limit = limit
        self._lock = threading.Lock()
        self._traces: dict[str, Trace] = {}
        self._count = 0

    def add(self, spans: Iterable[Span]) -> None:
        """Store spans; remove the oldest traces above the limit."""
        with self._lock:
            for span in spans:
                trace = self._traces.get(span.trace_id)
                if trace is None:
                    trace = self._traces[span.trace_id] = Trace(span.trace_id)
                if span.span_id not in trace.spans and len(trace.spans) < _LARGEST:
                    trace.spans[span.span_id] = span
                    self._count += 1
            while self._count > self._limit and len(self._traces) > 1:
                oldest = next(iter(self._traces))
                self._count -= len(self._traces.pop(oldest).spans)

    def __iter__(self) -> Iterator[Trace]:
        """Return copies of all traces, the latest start first."""
        with self._lock:
            copies = [_copied(trace) for trace in self._traces.values()]
        return iter(sorted(copies, key=lambda trace: trace.started, reverse=True))

    def find(self, wanted: str) -> Trace | None:
        """Return the latest trace with this id, id prefix or order number, or None."""
        wanted = wanted.lower()
        with self._lock:
            for trace in reversed(self._traces.values()):
                if trace.id.startswith(wanted) or trace.order.lower() == wanted:
                    return _copied(trace)
        return None


def _copied(trace: Trace) -> Trace:
    copy = Trace(trace.id)
    copy.spans = dict(trace.spans)
    return copy
