"""Promise 50: the bounded memory storage decides as the library's own memory storage."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from prometheus_client import CollectorRegistry

from app.config import Settings
from app.rate_limiter import BoundedMemoryStorage, CallerRateLimiter, RateLimitStatus

START = 1_764_000_000.05  # just after a full minute; the tests step by tenths of a second


class Clock:
    """Replaces time.time, from which the library reads the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        monkeypatch.setattr("time.time", lambda: self.now)

    def advance(self, seconds: float) -> None:
        self.now += round(seconds, 1)


INVALID_LIMITS = ["many", "60", "60/", "0/minute", "-1/minute", "1.5/minute", "٣/day"]


def limiter(**settings: str) -> CallerRateLimiter:
    return CallerRateLimiter(Settings.model_validate(settings), CollectorRegistry())


steps = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 3), st.floats(0, 30), st.floats(0, 300)), st.sampled_from("ab")
    ),
    max_size=120,
)


@given(st.integers(1, 12), st.sampled_from(["second", "minute", "3 minute"]), steps)
def test_promise_50_bounded_storage_decides_as_the_library_does(
    amount: int, unit: str, requests: list[tuple[float, str]]
) -> None:
    limit = parse(f"{amount} per {unit}")

    async def compare() -> None:
        bounded = SlidingWindowCounterRateLimiter(BoundedMemoryStorage())
        original = SlidingWindowCounterRateLimiter(MemoryStorage())
        for seconds, key in requests:
            clock.advance(seconds)
            assert await bounded.hit(limit, key) == await original.hit(limit, key)
            stats = await bounded.get_window_stats(limit, key)
            assert stats == await original.get_window_stats(limit, key)

    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        asyncio.run(compare())


@given(st.integers(1, 8), st.lists(st.floats(0, 40), max_size=60))
def test_caller_that_waits_for_reset_is_allowed(amount: int, waits: list[float]) -> None:
    async def wait_after_each_refusal() -> None:
        subject = limiter(rate_limit_default=f"{amount}/minute")
        for seconds in waits:
            clock.advance(seconds)
            status = await subject.hit("orders", "a")
            assert 1 <= status.reset_seconds <= 61
            if not status.allowed:
                clock.advance(status.reset_seconds)
                assert (await subject.hit("orders", "a")).allowed

    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        asyncio.run(wait_after_each_refusal())


@given(st.integers(1, 10), st.lists(st.floats(0, 10), max_size=100))
def test_promise_50_window_never_exceeds_limit_and_any_minute_at_most_twice(
    amount: int, waits: list[float]
) -> None:
    accepted: list[float] = []

    async def send() -> None:
        subject = limiter(rate_limit_default=f"{amount}/minute")
        for seconds in waits:
            clock.advance(seconds)
            if (await subject.hit("orders", "a")).allowed:
                accepted.append(clock.now)

    with pytest.MonkeyPatch.context() as monkeypatch:
        clock = Clock(monkeypatch)
        asyncio.run(send())
    for moment in accepted:
        assert len([t for t in accepted if moment <= t < moment + 60]) <= 2 * amount
        assert len([t for t in accepted if t // 60 == moment // 60]) <= amount


async def test_storage_drops_the_counter_incremented_longest_ago() -> None:
    storage = BoundedMemoryStorage(max_counters=3)
    for key in ("a", "b", "c", "a", "d"):
        await storage.incr(key, 60)
    assert [await storage.get(key) for key in "abcd"] == [2, 0, 1, 1]
    assert len(storage.storage) == len(storage.expirations) == 3


async def test_callers_and_groups_are_counted_separately() -> None:
    subject = limiter(rate_limit_default="1/hour", rate_limit_ai="2/hour")
    requests = [("orders", "a"), ("orders", "a"), ("orders", "b"), ("products", "a")]
    statuses = [await subject.hit(*request) for request in requests]
    assert [status.allowed for status in statuses] == [True, False, True, True]
    assert [(await subject.hit("ai", "a")).allowed for _ in range(3)] == [True, True, False]


def test_headers_contain_policy_and_state() -> None:
    allowed = RateLimitStatus(True, parse("2/5 minutes"), 1, 61)
    assert allowed.headers("orders") == [
        (b"ratelimit-policy", b'"orders";q=2;w=300'),
        (b"ratelimit", b'"orders";r=1;t=61'),
    ]
    refused = RateLimitStatus(False, parse("2/5 minutes"), 0, 61)
    assert refused.headers("orders")[1:] == [
        (b"ratelimit", b'"orders";r=0;t=61'),
        (b"retry-after", b"61"),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"rate_limit_default": text}
            for text in ("many", "60", "0/minute", "-1/minute", "٣/day")
        ),
        {"rate_limit_ai": ""},
        {"trusted_proxies": "10.0.0.1 nonsense"},
        {"order_service_url": "order-service:8002"},
        {"order_service_url": ""},
        {"upstream_timeout": 0},
        {"rate_limit_storage_uri": "redis//no-colon"},
    ],
)
def test_invalid_setting_is_refused_at_start(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings.model_validate(wrong)


def test_lists_are_separated_by_commas_or_spaces() -> None:
    settings = Settings.model_validate({"order_service_url": "http://a:1/, http://b:2 http://c:3"})
    assert settings.order_service_url == ("http://a:1", "http://b:2", "http://c:3")
