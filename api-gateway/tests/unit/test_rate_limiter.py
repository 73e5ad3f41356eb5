"""Promise 50: the gateway's own counters, beside those of the `limits` library."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import parse as library_limit
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.config import Settings
from app.rate_limit import RateLimit
from app.rate_limiter import LocalWindows

START = 1_764_000_000.0  # a full minute


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


def limiter(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> SlidingWindowCounterRateLimiter:
    """The library's, on the same clock. Its timer, which only tidies up, is not started."""
    monkeypatch.setattr("time.time", clock)
    storage = MemoryStorage()
    monkeypatch.setattr(type(storage), "_MemoryStorage__schedule_expiry", lambda _: None)
    return SlidingWindowCounterRateLimiter(storage)


steps = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 3), st.floats(0, 30), st.floats(0, 300)), st.sampled_from("ab")
    ),
    max_size=120,
)


@given(st.integers(1, 12), st.sampled_from(["second", "minute", "3 minute"]), steps)
def test_promise_50_it_decides_as_the_library_does(
    amount: int, unit: str, asked: list[tuple[float, str]]
) -> None:
    words = f"{amount} per {unit}"
    limit, item = RateLimit.parse(words), library_limit(words)
    clock = Clock()
    ours = LocalWindows(now=clock)
    with pytest.MonkeyPatch.context() as monkeypatch:
        theirs = limiter(monkeypatch, clock)
        for seconds, key in asked:
            clock.now += round(seconds, 1)
            standing = ours.count(limit, key)
            assert standing.allowed == theirs.hit(item, key)
            remaining = theirs.get_window_stats(item, key).remaining
            assert standing.remaining == remaining or not standing.allowed


@given(st.integers(1, 8), st.lists(st.floats(0, 40), max_size=60))
def test_the_seconds_that_it_says_are_never_too_few(amount: int, waits: list[float]) -> None:
    """Who waits as long as a refusal says is let in; who is told a minute too much goes away."""
    limit = RateLimit.parse(f"{amount}/minute")
    clock = Clock()
    windows = LocalWindows(now=clock)
    for seconds in waits:
        clock.now += seconds
        standing = windows.count(limit, "a")
        assert 1 <= standing.seconds <= 61
        if not standing.allowed:
            clock.now += standing.seconds
            assert windows.count(limit, "a").allowed


@given(st.integers(1, 10), st.lists(st.floats(0, 10), max_size=100))
def test_promise_50_no_minute_sees_more_than_twice_the_limit_and_no_window_more_than_it(
    amount: int, waits: list[float]
) -> None:
    clock = Clock()
    windows = LocalWindows(now=clock)
    limit = RateLimit.parse(f"{amount}/minute")
    accepted = []
    for seconds in waits:
        clock.now += seconds
        if windows.count(limit, "a").allowed:
            accepted.append(clock.now)
    for moment in accepted:
        assert len([t for t in accepted if moment <= t < moment + 60]) < 2 * amount + 1
        assert len([t for t in accepted if t // 60 == moment // 60]) <= amount


def test_callers_are_counted_apart_and_forgotten_oldest_first() -> None:
    windows = LocalWindows(capacity=3, now=Clock())
    limit = RateLimit.parse("1/minute")
    assert windows.count(limit, "a").allowed
    assert not windows.count(limit, "a").allowed
    for key in "bc":
        assert windows.count(limit, key).allowed
    assert not windows.count(limit, "a").allowed  # asked again: not the oldest any more
    assert windows.count(limit, "d").allowed
    assert not windows.count(limit, "a").allowed
    assert windows.count(limit, "b").allowed  # had been forgotten
    assert len(windows._windows) == 3


def test_the_headers_say_the_policy_and_the_standing() -> None:
    windows = LocalWindows(now=Clock())
    limit = RateLimit.parse("2/minute")
    first, _, third = (windows.count(limit, "a") for _ in range(3))
    assert first.headers("orders") == [
        (b"ratelimit-policy", b'"orders";q=2;w=60'),
        (b"ratelimit", b'"orders";r=1;t=61'),
    ]
    assert third.headers("orders")[1:] == [
        (b"ratelimit", b'"orders";r=0;t=61'),
        (b"retry-after", b"61"),
    ]


@pytest.mark.parametrize(
    "words", ["60/minute", "15/minute", "1000 per hour", "100/5 minutes", "3/2day", "7 / second"]
)
def test_a_limit_is_read_as_the_library_reads_it(words: str) -> None:
    ours, theirs = RateLimit.parse(words), library_limit(words)
    assert (ours.amount, ours.seconds) == (theirs.amount, theirs.get_expiry())


@pytest.mark.parametrize(
    "words",
    ["", "60", "60/", "/minute", "0/minute", "5/0 minutes", "-1/minute", "1.5/minute", "٣/day"],
)
def test_what_is_no_limit_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="no limit"):
        RateLimit.parse(words)


def test_the_ai_has_a_limit_of_its_own() -> None:
    settings = Settings(rate_limit_default="7/minute", rate_limit_ai="3/hour")
    limits = {group: settings.limit_of(group) for group in ("ai", "orders", "other")}
    assert {group: limit.amount for group, limit in limits.items()} == {
        "ai": 3,
        "orders": 7,
        "other": 7,
    }
    assert math.isclose(limits["ai"].seconds, 3600)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_limit_default": "many"},
        {"rate_limit_ai": ""},
        {"trusted_proxies": "10.0.0.1 nonsense"},
        {"order_service_url": "order-service:8002"},
        {"order_service_url": ""},
        {"upstream_timeout": 0},
        {"rate_limit_storage_uri": "redis//no-colon"},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_at_the_start(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings.model_validate(wrong)


def test_lists_are_separated_by_commas_or_spaces() -> None:
    settings = Settings.model_validate({"order_service_url": "http://a:1/, http://b:2 http://c:3"})
    assert settings.order_service_url == ("http://a:1", "http://b:2", "http://c:3")
