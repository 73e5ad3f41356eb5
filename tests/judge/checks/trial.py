"""What the checks are given, and what they give back."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.judge.evidence import State
from tests.judge.history import History
from tests.judge.nemesis import Done
from tests.judge.plan import MARKER


@dataclass(slots=True)
class Trial:
    """One run, when it is over.

    Attributes:
        initial: pieces of each product at the beginning.
        faults: what was broken, and when.
        smtp_windows: how many mails may be doubled (docs/order-flow.md).
        poison: values put on topics that nobody can read.
        refuses_content: the mail server refused mails with the marker word for some time.
        unsettled: what was still to be done when waiting ended; empty if nothing was.
    """

    history: History
    state: State
    initial: dict[str, int]
    faults: Sequence[Done] = ()
    smtp_windows: int = 0
    poison: Sequence[bytes] = ()
    refuses_content: bool = False
    unsettled: str = ""

    def may_be_undeliverable(self, order_id: str) -> bool:
        """Return True if the mail server may have refused the order's mails permanently."""
        marked = {order.id for order in self.state.orders if MARKER in order.wish}
        return self.refuses_content and order_id in marked


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
