"""Figures of a run: throughput and latency per second, and recovery times."""

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass

from tests.judge.checks.mails import doubled
from tests.judge.history import Attempt, Kind, Outcome
from tests.judge.nemesis import Done
from tests.judge.run import Result


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the load; latencies of placed orders in ms, 0 if there was none."""

    confirmed: int
    refused: int
    unknown: int
    p50: float
    p95: float


def seconds_of(result: Result) -> list[Second]:
    """Group placed orders by the second of their response."""
    by_second: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in result.run_data.history.by_kind(Kind.PLACE):
        by_second[int(attempt.ended)].append(attempt)
    return [_second(by_second.get(n, [])) for n in range(int(max(by_second, default=0)) + 1)]


def _second(attempts: list[Attempt]) -> Second:
    counts = Counter(attempt.outcome for attempt in attempts)
    took = [a.took * 1000 for a in attempts if a.outcome is Outcome.OK]
    return Second(
        counts[Outcome.OK],
        counts[Outcome.REFUSED],
        counts[Outcome.UNKNOWN],
        quantile(took, 0.5),
        quantile(took, 0.95),
    )


def quantile(values: list[float], share: float) -> float:
    """Return the quantile of the values, 0 for an empty list."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))] if ranked else 0.0


def recovery_times(result: Result) -> list[float]:
    """Return, for each effective fault, the seconds from its end to the next placed order."""
    ends = sorted(
        a.ended for a in result.run_data.history.by_kind(Kind.PLACE) if a.outcome is Outcome.OK
    )
    return [_recovery_time(done, ends) for done in result.run_data.faults if done.hit]


def _recovery_time(done: Done, ends: list[float]) -> float:
    return next((end - done.ended for end in ends if end >= done.ended), 0.0)


def numbers(result: Result) -> dict[str, float | int | str]:
    """Return the figures of the report by name."""
    run_data = result.run_data
    placed = run_data.history.by_kind(Kind.PLACE)
    outcomes = Counter(attempt.outcome for attempt in placed)
    took = [a.took * 1000 for a in placed if a.outcome is Outcome.OK]
    heals = recovery_times(result)
    unfinished = [last - first for first, last in run_data.state.unfinished.values()]
    hits = Counter(str(done.planned.fault) for done in run_data.faults if done.hit)
    return {
        "requests": len(run_data.history.attempts),
        "orders confirmed": len({a.intent for a in placed if a.outcome is Outcome.OK}),
        "attempts refused": outcomes[Outcome.REFUSED],
        "attempts unknown": outcomes[Outcome.UNKNOWN],
        "orders cancelled": sum(order.status == "CANCELLED" for order in run_data.state.orders),
        "order p50, ms": round(quantile(took, 0.5), 1),
        "order p95, ms": round(quantile(took, 0.95), 1),
        "faults": len(run_data.faults),
        "effective faults": sum(hits.values()),
        "by type": ", ".join(f"{n} {fault}" for fault, n in sorted(hits.items())),
        "recovery p50, s": round(statistics.median(heals), 2) if heals else 0.0,
        "recovery max, s": round(max(heals, default=0.0), 2),
        "unfinished orders": len(unfinished),
        "unfinished for at most, s": round(max(unfinished, default=0.0), 1),
        "settled after, s": round(result.seconds_to_settle, 1),
        "mails": len(run_data.state.mails),
        "duplicate mails": doubled(run_data),
        "duplicates allowed by faults": run_data.smtp_windows,
    }
