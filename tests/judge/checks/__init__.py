"""What must be true. Each check is pure: a trial in, violations out.

A check that had nothing to look at says so: an empty history proves nothing and fails.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.judge.checks import access, events, mails, orders, stock
from tests.judge.checks.trial import Finding, Trial

Check = Callable[[Trial], Finding]

CHECKS: dict[str, Check] = {
    "stock conserved at every read": stock.conserved_at_every_read,
    "stock conserved over all": stock.conserved_over_all,
    "none oversold": stock.none_oversold,
    "each order has its stock": stock.each_order_has_its_stock,
    "each restock once": stock.each_restock_once,
    "every 201 stands": orders.every_201_is_present,
    "no order from nowhere": orders.none_from_nowhere,
    "one order for each key": orders.one_for_each_wish,
    "every order in a legal state": orders.legal_states,
    "none PENDING too long": orders.none_unfinished_too_long,
    "no error of ours": orders.no_internal_error,
    "committed orders are on the topic": events.committed_if_and_only_if_published,
    "events in order for each aggregate": events.in_order_for_each_aggregate,
    "dead letters are explained": events.dead_letters_are_explained,
    "one confirmation for each order": mails.one_confirmation_each,
    "one cancellation mail each": mails.one_cancellation_each,
    "one follow-up at most": mails.one_follow_up_each,
    "nobody saw another's order": access.nobody_saw_anothers,
    "no valid token refused": access.no_valid_token_refused,
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check came to."""

    name: str
    looked_at: int
    violations: Sequence[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.looked_at) and not self.violations


def judge(trial: Trial) -> list[Verdict]:
    """Every check."""
    verdicts = []
    for name, check in CHECKS.items():
        finding = check(trial)
        verdicts.append(Verdict(name, finding.looked_at, finding.violations))
    return verdicts
