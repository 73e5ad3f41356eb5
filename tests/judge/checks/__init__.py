"""The checks of the judge: pure functions from the data of a run to violations.

A check without data fails, because an empty history proves nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.judge.checks import access, events, mails, orders, stock
from tests.judge.checks.run_data import Finding, RunData

Check = Callable[[RunData], Finding]

CHECKS: dict[str, Check] = {
    "stock conserved at every read": stock.conserved_at_every_read,
    "stock conserved in total": stock.conserved_over_all,
    "no product oversold": stock.none_oversold,
    "each order has its stock": stock.each_order_has_its_stock,
    "each restock once": stock.each_restock_once,
    "every 201 has an order": orders.every_201_is_present,
    "no unexplained order": orders.no_unexplained_order,
    "one order for each key": orders.one_order_per_key,
    "every order in a legal state": orders.legal_states,
    "no order unfinished too long": orders.none_unfinished_too_long,
    "no internal error": orders.no_internal_error,
    "committed orders are on the topic": events.committed_if_and_only_if_published,
    "events in order for each aggregate": events.in_order_for_each_aggregate,
    "dead letters are explained": events.dead_letters_are_explained,
    "one confirmation for each order": mails.one_confirmation_each,
    "one cancellation mail each": mails.one_cancellation_each,
    "one follow-up at most": mails.one_follow_up_each,
    "no access to other customers' orders": access.no_foreign_orders_visible,
    "no valid token refused": access.no_valid_token_refused,
}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check."""

    name: str
    looked_at: int
    violations: Sequence[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.looked_at) and not self.violations


def judge(run_data: RunData) -> list[CheckResult]:
    """Run every check."""
    results = []
    for name, check in CHECKS.items():
        finding = check(run_data)
        results.append(CheckResult(name, finding.looked_at, finding.violations))
    return results
