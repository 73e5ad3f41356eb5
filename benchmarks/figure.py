"""What a scenario measures, and what the platform is held to."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a figure; the figure itself meets it."""

    bound: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}"


_MAIN = "orders: 16 clients, all products"
GOALS = {
    "forwarding: gateway against bare aiohttp, CPU a request": Goal(2),
    "forwarding: gateway against plain httpx, rate": Goal(4, at_least=True),
    "forwarding: p99 added by the gateway": Goal(5),
    "reads: list of 10, gateway against direct": Goal(0.8, at_least=True),
    "reads: list of 10, CPU of product-service": Goal(0.6),
    "reads: one product, CPU of product-service": Goal(0.4),
    f"{_MAIN}: rate": Goal(120, at_least=True),
    f"{_MAIN}: CPU of the six services an order": Goal(8),
    f"{_MAIN}: rate against its SQL alone": Goal(0.15, at_least=True),
    "mails: 50 orders a second, to the mail, p95": Goal(500),
    "start: warm, until every API answers": Goal(5),
    "memory: idle, six services, RSS": Goal(480),
    "memory: soak, most of its second half against its first": Goal(1.05),
    "growth: a page of all orders, 100,000 against 1,000": Goal(1.5),
    "growth: a page of one's own, 100,000 against 1,000": Goal(1.5),
    "growth: a search for one product, 10,000 against 100": Goal(1.5),
    "growth: a search for a part of a word, 10,000 against 100": Goal(1.5),
}
"""By a figure's key; a time in its unit, a ratio of two figures of one run."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        scenario, name: what was measured; together they find it in an earlier run, and its goal.
        unit: such as `ms`, `/s`, `MB`, or `x` for a ratio.
    """

    scenario: str
    name: str
    value: float
    unit: str

    @property
    def key(self) -> str:
        return f"{self.scenario}: {self.name}"

    @property
    def goal(self) -> Goal | None:
        return GOALS.get(self.key)

    @property
    def met(self) -> bool:
        return self.goal is None or self.goal.met(self.value)


@dataclass(frozen=True, slots=True)
class Series:
    """A curve for the report: points (x, y) by the name of each line."""

    title: str
    unit: str
    lines: dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Measured:
    """What a scenario came to."""

    figures: list[Figure]
    series: list[Series]
    notes: list[str]

    @classmethod
    def of(
        cls, figures: Iterable[Figure], series: Iterable[Series] = (), notes: Iterable[str] = ()
    ) -> "Measured":
        return cls(list(figures), list(series), list(notes))
