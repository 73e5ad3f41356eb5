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


def at_most(bound: float) -> Goal:
    return Goal(bound)


def at_least(bound: float) -> Goal:
    return Goal(bound, at_least=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number.

    Attributes:
        scenario, name: what was measured; together they find it in an earlier run.
        unit: such as `ms`, `/s`, `MB`, or `x` for a ratio of two figures of this run.
        more_is_better: which way is faster, for the comparison with an earlier run.
    """

    scenario: str
    name: str
    value: float
    unit: str
    goal: Goal | None = None
    more_is_better: bool = False

    @property
    def key(self) -> str:
        return f"{self.scenario}: {self.name}"

    @property
    def met(self) -> bool:
        return self.goal is None or self.goal.met(self.value)


@dataclass(frozen=True, slots=True)
class Series:
    """A curve for the report: points (x, y) by the name of each line."""

    scenario: str
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
