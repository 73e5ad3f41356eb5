"""The latest traces, in memory: bounded by spans, the trace that began first forgotten first."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

ORDER_NUMBER = "order.number"
"""The attribute by which order-service names the order that a trace is about."""

_LARGEST = 2_000  # spans kept of one trace


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of work as it was reported. Times are nanoseconds since 1970."""

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
        """How long it took."""
        return (self.ended - self.started) / 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """A span at its place in the tree."""

    span: Span
    depth: int


class Trace:
    """What is known of one trace so far."""

    def __init__(self, trace_id: str) -> None:
        """Nothing is known yet."""
        self.id = trace_id
        self.spans: dict[str, Span] = {}

    @property
    def started(self) -> int:
        """When its first span began."""
        return min(span.started for span in self.spans.values())

    @property
    def ended(self) -> int:
        """When its last span ended."""
        return max(span.ended for span in self.spans.values())

    @property
    def milliseconds(self) -> float:
        """From its first span's beginning to its last one's end."""
        return (self.ended - self.started) / 1e6

    @property
    def name(self) -> str:
        """That of the span that stands above all others, or began first."""
        return self.rows()[0].span.name

    @property
    def failed(self) -> bool:
        """Whether any of its spans ended badly."""
        return any(span.failed for span in self.spans.values())

    @property
    def services(self) -> list[str]:
        """Who took part, in order of appearance."""
        ordered = sorted(self.spans.values(), key=lambda span: span.started)
        return list(dict.fromkeys(span.service for span in ordered))

    @property
    def order(self) -> str:
        """The number of the order that it is about; empty where it is about none."""
        named = (span.attributes.get(ORDER_NUMBER, "") for span in self.spans.values())
        return next(filter(None, named), "")

    def rows(self) -> list[Row]:
        """The spans as a tree, from the top; whose parent is not known here stands at the left."""
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
        return rows or [Row(span, 0) for span in self.spans.values()]  # a ring: nobody is the top


class Store:
    """All that is kept. Safe for threads."""

    def __init__(self, limit: int) -> None:
        """``limit`` is the number of spans kept at most."""
        self._limit = limit
        self._lock = threading.Lock()
        self._traces: dict[str, Trace] = {}
        self._count = 0

    def add(self, spans: Iterable[Span]) -> None:
        """Keep these; what is oldest gives way."""
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
        """The one that began last first, as they are now; services report in no order."""
        with self._lock:
            copies = [_copied(trace) for trace in self._traces.values()]
        return iter(sorted(copies, key=lambda trace: trace.started, reverse=True))

    def find(self, wanted: str) -> Trace | None:
        """By trace id, or the beginning of it, or by order number; the latest where several fit."""
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
