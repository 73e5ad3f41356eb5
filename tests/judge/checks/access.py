"""Who saw what."""

from tests.judge.checks.trial import Finding, Trial
from tests.judge.history import Kind


def nobody_saw_anothers(trial: Trial) -> Finding:
    """Promise 48, under faults: lists and orders show the caller's own, and spies see nothing."""
    found = Finding()
    for attempt in trial.history.of(Kind.LIST, Kind.READ, Kind.SPY):
        own = {f"{attempt.caller}@example.com"}
        found.require(
            set(attempt.owners) <= own, f"{attempt.caller} saw orders of {attempt.owners}"
        )
        if attempt.kind is Kind.SPY:
            found.require(attempt.status != 200, f"{attempt.caller} read {attempt.order_id}")
    return found


def no_valid_token_refused(trial: Trial) -> Finding:
    """Promise 42, under faults: everybody here has a good token."""
    found = Finding()
    for attempt in trial.history.attempts:
        found.require(attempt.status != 401, f"a good token was refused: {attempt.kind}")
    return found
