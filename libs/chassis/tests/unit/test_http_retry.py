"""Backoff and retry budget of the client, without a network."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from tenacity import Future, RetryCallState

from chassis.backoff import RetryPolicy
from chassis.http_client.errors import Reason, UpstreamUnavailable
from chassis.http_client.response import Reply
from chassis.http_client.retry import BudgetPolicy, RetryBudget, retry_after_seconds, retrying


class Clock:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def wait_before(attempt: int, policy: RetryPolicy, retry_after: float | None = None) -> float:
    """Return the seconds that the client waits after failed attempt `attempt`."""
    loop = retrying(policy, RetryBudget(), 60, lambda: None)
    state = RetryCallState(loop, None, (), {})
    state.attempt_number = attempt
    state.outcome = Future.construct(
        attempt, UpstreamUnavailable("peer", Reason.BAD_ANSWER, 503, retry_after), True
    )
    return float(loop.wait(state))


def test_backoff_has_full_jitter_and_doubles() -> None:
    """Full jitter: no tenth of the range has more than 1.5 times its share."""
    policy = RetryPolicy(backoff=0.1, backoff_max=0.3)
    for attempt, longest in ((1, 0.1), (2, 0.2), (3, 0.3), (9, 0.3)):
        waits = [wait_before(attempt, policy) for _ in range(5000)]
        assert max(waits) <= longest
        tenths = Counter(int(wait / longest * 10) for wait in waits)
        assert all(350 < tenths[tenth] < 750 for tenth in range(10)), tenths


def test_backoff_is_at_least_retry_after() -> None:
    """Promise 38."""
    waits = [wait_before(1, RetryPolicy(backoff=0.1), retry_after=2) for _ in range(100)]
    assert all(2 <= wait <= 2.1 for wait in waits)
    assert len(set(waits)) > 90  # with jitter


def test_budget_allows_one_retry_per_eight_calls_and_some_per_second() -> None:
    """Promise 32."""
    clock = Clock()
    budget = RetryBudget(BudgetPolicy(retries_per_call=0.125, retries_per_second=2), clock)
    paid = 0
    for _ in range(1000):
        budget.deposit()
        paid += budget.withdraw() + budget.withdraw()
    assert paid == 135  # including the initial reserve of 10
    clock.now += 3
    budget.deposit()
    assert sum(budget.withdraw() for _ in range(100)) == 6


def test_budget_is_capped_at_its_reserve() -> None:
    clock = Clock()
    budget = RetryBudget(BudgetPolicy(reserve=50), clock)
    clock.now += 3600
    for _ in range(10_000):
        budget.deposit()
    assert sum(budget.withdraw() for _ in range(1000)) == 50


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("2", 2.0), (" 0 ", 0.0), ("9" * 5000, 999_999_999.0)]
    + [(bad, None) for bad in (None, "", "-1", "1.5", "soon", "NaN", "²", "Mon, 99 Foo 2026")],
)
def test_retry_after_is_parsed_as_seconds(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value) == seconds


def test_retry_after_is_parsed_as_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 < (retry_after_seconds(soon) or 0) <= 30
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b"NaN", b"\xff"])
def test_response_body_that_is_not_json_is_a_bad_answer(body: bytes) -> None:
    with pytest.raises(UpstreamUnavailable) as failure:
        Reply("peer", 200, {}, body).json()
    assert failure.value.reason is Reason.BAD_ANSWER
    assert failure.value.maybe_executed
