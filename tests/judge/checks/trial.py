"""What the checks are given, and what they give back."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.judge.evidence import State
from tests.judge.history import History
from tests.judge.nemesis import Done


@dataclass(slots=True)
class Trial:
    """One run, when it is over.

    Attributes:
        initial: pieces of each product at the beginning.
        faults: what was broken, and when.
        smtp_windows: how many mails may be doubled (docs/order-flow.md).
        poison: values put on topics that nobody can read.
        unsettled: what was still to be done when waiting ended; empty if nothing was.
    """

    history: History
    state: State
    initial: dict[str, int]
    faults: Sequence[Done] = ()
    smtp_windows: int = 0
    poison: Sequence[bytes] = ()
    unsettled: str = ""


@dataclass(slots=True)
class Finding:
    """How many things a check has looked at, and what is wrong with which."""

    looked_at: int = 0
    violations: list[str] = field(default_factory=list)

    def require(self, true: bool, violation: str) -> None:
        """Count one thing, and note the violation unless it is true."""
        self.looked_at += 1
        if not true:
            self.violations.append(violation)
