"""Numbers of a trial: how fast it was, second by second, and how long it took to heal."""

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass

from tests.judge.checks.mails import doubled
from tests.judge.history import Attempt, Kind, Outcome
from tests.judge.nemesis import Done
from tests.judge.run import Result


@dataclass(frozen=True, slots=True)
class Second:
    """One second of the load; latencies of placed orders in ms, 0 where there was none."""

    confirmed: int
    refused: int
    unknown: int
    p50: float
    p95: float


def seconds_of(result: Result) -> list[Second]:
    """Placed orders by the second in which their answer came."""
    by_second: dict[int, list[Attempt]] = defaultdict(list)
    for attempt in result.trial.history.of(Kind.PLACE):
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
    """The value below which so many lie; 0 of none."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * share))] if ranked else 0.0


def heal_times(result: Result) -> list[float]:
    """For each fault that hit: seconds from its end until the next order was placed."""
    ends = sorted(a.ended for a in result.trial.history.of(Kind.PLACE) if a.outcome is Outcome.OK)
    return [_heal_time(done, ends) for done in result.trial.faults if done.hit]


def _heal_time(done: Done, ends: list[float]) -> float:
    return next((end - done.ended for end in ends if end >= done.ended), 0.0)


def numbers(result: Result) -> dict[str, float | int | str]:
    """What goes into a table, by name."""
    trial = result.trial
    placed = trial.history.of(Kind.PLACE)
    outcomes = Counter(attempt.outcome for attempt in placed)
    took = [a.took * 1000 for a in placed if a.outcome is Outcome.OK]
    heals = heal_times(result)
    unfinished = [last - first for first, last in trial.state.unfinished.values()]
    hits = Counter(str(done.planned.fault) for done in trial.faults if done.hit)
    return {
        "requests": len(trial.history.attempts),
        "orders confirmed": len({a.wish for a in placed if a.outcome is Outcome.OK}),
        "attempts refused": outcomes[Outcome.REFUSED],
        "attempts unknown": outcomes[Outcome.UNKNOWN],
        "orders cancelled": sum(order.status == "CANCELLED" for order in trial.state.orders),
        "order p50, ms": round(quantile(took, 0.5), 1),
        "order p95, ms": round(quantile(took, 0.95), 1),
        "faults": len(trial.faults),
        "faults that hit": sum(hits.values()),
        "of them": ", ".join(f"{n} {fault}" for fault, n in sorted(hits.items())),
        "heal p50, s": round(statistics.median(heals), 2) if heals else 0.0,
        "heal max, s": round(max(heals, default=0.0), 2),
        "orders left half done": len(unfinished),
        "undone after at most, s": round(max(unfinished, default=0.0), 1),
        "settled after, s": round(result.seconds_to_settle, 1),
        "mails": len(trial.state.mails),
        "mails doubled": doubled(trial),
        "doubles that faults explain": trial.smtp_windows,
    }
