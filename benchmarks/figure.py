"""Figures that scenarios measure, and the goals for them."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for a figure, inclusive.

    Attributes:
        at_least: the bound is a minimum, not a maximum.
        acceptable: a weaker bound; a figure between the two is acceptable.
    """

    bound: float
    at_least: bool = False
    acceptable: float | None = None

    def met(self, value: float) -> bool:
        return self._within(value, self.bound)

    def missed(self, value: float) -> bool:
        """Whether the value exceeds even the acceptable bound."""
        bound = self.bound if self.acceptable is None else self.acceptable
        return not self._within(value, bound)

    def _within(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound

    def __str__(self) -> str:
        text = f"{'≥' if self.at_least else '≤'} {self.bound:g}"
        return text if self.acceptable is None else f"{text} (acceptable {self.acceptable:g})"


MAIN_ORDERS = "16 clients, all products"
BARE_COST = "bare aiohttp, CPU per request"
ORDER_COST = f"{MAIN_ORDERS}: CPU of the six services per order"
ORDER_RATIO = f"{MAIN_ORDERS}: CPU per order against one request of bare aiohttp"
CATALOGUE_REQUESTS = (
    "list",
    "list, category",
    "list, category and prices",
    "list, prices by name",
    "list, deep by cursor",
    "one product",
    "search",
    "search, misspelt",
    "search, category, by price",
    "suggest",
    "facets",
    "facets of a search",
)
GOALS = {
    "forwarding: gateway against bare aiohttp, CPU per request": Goal(2),
    "forwarding: gateway against plain httpx, rate": Goal(4, at_least=True),
    "forwarding: p99 added by the gateway": Goal(5),
    "reads: list of 10, gateway against direct": Goal(0.75, at_least=True),
    "reads: list of 10, CPU of product-service": Goal(0.6),
    "reads: one product, CPU of product-service": Goal(0.4),
    f"orders: {MAIN_ORDERS}: rate": Goal(120, at_least=True),
    f"orders: {ORDER_RATIO}": Goal(65, acceptable=75),
    f"orders: {MAIN_ORDERS}: rate against its SQL alone": Goal(0.2, at_least=True),
    "mails: 50 orders per second, to the mail, p95": Goal(500),
    "start: warm, until every API answers": Goal(5),
    "memory: idle, six services, RSS": Goal(600),
    "memory: soak, maximum of its second half against its first": Goal(1.05),
    "growth: a page of all orders, 100,000 against 1,000": Goal(1.5),
    "growth: a page of one customer's orders, 100,000 against 1,000": Goal(1.5),
    **{f"growth: {name}, 100,000 against 100": Goal(2) for name in CATALOGUE_REQUESTS},
    **{f"growth: {name}, 100,000 against 100, CPU": Goal(2) for name in CATALOGUE_REQUESTS},
    "growth: suggest of 100,000, p95": Goal(30),
}
"""Figure key → goal, in the figure's unit. A ratio compares two figures of the same run."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        scenario, name: identify the figure in earlier runs and its goal.
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

    @property
    def missed(self) -> bool:
        return self.goal is not None and self.goal.missed(self.value)


@dataclass(frozen=True, slots=True)
class Series:
    """A chart of the report: line name → points (x, y)."""

    title: str
    unit: str
    lines: dict[str, list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Measured:
    """The results of a scenario."""

    figures: list[Figure]
    series: list[Series]
    notes: list[str]

    @classmethod
    def of(
        cls, figures: Iterable[Figure], series: Iterable[Series] = (), notes: Iterable[str] = ()
    ) -> "Measured":
        return cls(list(figures), list(series), list(notes))

    def add(self, other: "Measured") -> None:
        self.figures.extend(other.figures)
        self.series.extend(other.series)
        self.notes.extend(other.notes)

    def add_order_ratio(self) -> None:
        """Relate the CPU of an order to that of a forwarded request, if both were measured.

        The ratio depends less on the load of the machine than milliseconds do.
        """
        values = {figure.name: figure.value for figure in self.figures}
        if ORDER_COST in values and BARE_COST in values:
            milliseconds, microseconds = values[ORDER_COST], values[BARE_COST]
            ratio = milliseconds * 1000 / microseconds
            self.figures.append(Figure("orders", ORDER_RATIO, ratio, "x"))
