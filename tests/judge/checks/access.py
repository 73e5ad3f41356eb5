"""Checks of authorization."""

from tests.judge.checks.run_data import Finding, RunData
from tests.judge.history import Kind


def no_foreign_orders_visible(run_data: RunData) -> Finding:
    """Promise 48, under faults: customers read only their own orders."""
    found = Finding()
    for attempt in run_data.history.by_kind(Kind.LIST, Kind.READ, Kind.SPY):
        own = {f"{attempt.caller}@example.com"}
        found.require(
            set(attempt.owners) <= own, f"{attempt.caller} saw orders of {attempt.owners}"
        )
        if attempt.kind is Kind.SPY:
            found.require(attempt.status != 200, f"{attempt.caller} read {attempt.order_id}")
    return found


def no_valid_token_refused(run_data: RunData) -> Finding:
    """Promise 42, under faults: all requests have a valid token."""
    found = Finding()
    for attempt in run_data.history.attempts:
        found.require(attempt.status != 401, f"a valid token was refused: {attempt.kind}")
    return found
