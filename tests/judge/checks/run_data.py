"""Input and output of the checks."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.judge.evidence import State
from tests.judge.history import History
from tests.judge.nemesis import Done
from tests.judge.plan import MARKER


@dataclass(slots=True)
class RunData:
    """Data of a finished run.

    Attributes:
        initial: initial stock of each product.
        faults: injected faults.
        smtp_windows: number of mails that may be duplicates (docs/order-flow.md).
        poison: invalid messages that were published.
        refuses_content: the mail server refused mails with the marker word for some time.
        unsettled: remaining work at the timeout; empty if all was finished.
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
        marked = {order.id for order in self.state.orders if MARKER in order.intent}
        return self.refuses_content and order_id in marked


@dataclass(slots=True)
class Finding:
    """Number of checked items, and the violations found."""

    looked_at: int = 0
    violations: list[str] = field(default_factory=list)

    def require(self, true: bool, violation: str) -> None:
        """Count one checked item, and record the violation if it is not true."""
        self.looked_at += 1
        if not true:
            self.violations.append(violation)
