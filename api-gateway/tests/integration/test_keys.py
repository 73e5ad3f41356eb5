"""Authentication while the provider rotates keys, is unavailable, or callers send unknown kids."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from jose import jwt

from chassis.security.token_verifier import TokenVerifier
from fleet.testing.token_mint import SigningKey, StandIn, b64, claims_of, stand_in, token
from tests.conftest import MakeSettings
from tests.fakes import FakeUpstream
from tests.gateways import Reply
from tests.inside import Inside, inside

OLD, NEW = SigningKey.new("old"), SigningKey.new("new")
ORDERS = "/api/orders/me"


class Clock:
    """A clock that only the test advances."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def by(key: SigningKey, **changed: object) -> str:
    return token(key, claims_of("alice", "customer", **changed))


@dataclass
class Scene:
    """A gateway, its identity provider and its two clocks."""

    door: Inside
    provider: StandIn
    clock: Clock
    today: Clock

    async def shown(self, presented: str) -> Reply:
        return await self.door.ask(ORDERS, f"Bearer {presented}")

    async def status(self, presented: str) -> int:
        return (await self.shown(presented)).status

    async def readiness(self) -> tuple[int, str]:
        reply = await self.door.ask("/health/ready")
        return reply.status, json.loads(reply.body)["dependencies"]["identity-provider"]["status"]


@pytest.fixture
async def scene(settings_of: MakeSettings, upstream: FakeUpstream) -> AsyncIterator[Scene]:
    async with stand_in(OLD) as provider:
        settings = settings_of(oidc_jwks_url=provider.jwks_url)
        clock, today = Clock(5000.0), Clock(time.time())
        verifier = TokenVerifier(settings, clock=clock, now=today)
        async with inside(settings, verifier) as door:
            yield Scene(door, provider, clock, today)


async def test_promise_40_key_rotation_under_load_refuses_no_valid_request(scene: Scene) -> None:
    """Promise 40: both keys are published for half an hour; 8 clients use either token."""
    assert await scene.status(by(OLD)) == 200
    scene.provider.publish(NEW, OLD)
    scene.clock.now += 30
    assert await scene.status(by(NEW)) == 200
    seen = [by(OLD), by(NEW)]

    async def customer() -> list[int]:
        found = []
        for number in range(20):
            fresh = by(OLD, jti=str(number)), by(NEW, jti=str(number))
            found += [await scene.status(presented) for presented in (*seen, *fresh)]
            scene.clock.now += 10
        return found

    answers = await asyncio.gather(*(customer() for _ in range(8)))
    assert {status for found in answers for status in found} == {200}
    assert 2 < scene.provider.fetches < 60  # refreshed regularly, but not for each request


async def test_promise_40_new_key_is_known_within_30_seconds(scene: Scene) -> None:
    """Promise 40: the worst case is a token signed one second after the last fetch."""
    assert await scene.status(by(OLD)) == 200
    scene.provider.publish(NEW)
    scene.clock.now += 1
    assert await scene.status(by(NEW)) == 401
    scene.clock.now += 29
    assert await scene.status(by(NEW)) == 200


async def test_promise_40_withdrawn_key_is_refused_after_its_time_to_live(
    scene: Scene,
) -> None:
    """Promise 40: this includes a token that was accepted and cached before."""
    seen = by(OLD)
    assert await scene.status(seen) == 200
    scene.provider.publish(NEW)
    scene.clock.now += 300
    assert await scene.status(seen) == 401
    assert await scene.status(by(OLD)) == 401
    assert await scene.status(by(NEW)) == 200


async def test_promise_41_ten_thousand_unknown_kids_cause_one_fetch(
    scene: Scene,
) -> None:
    """Promise 41: 20 clients send forged tokens while a customer sends valid ones."""
    first = (scene.status(by(OLD, jti=str(number))) for number in range(50))
    assert set(await asyncio.gather(*first)) == {200}
    assert scene.provider.fetches == 1
    rest = by(OLD).partition(".")[2]
    scene.clock.now += 30

    async def forger() -> set[int]:
        found = set()
        for _ in range(500):
            kid = secrets.token_hex(8)
            presented = f"{b64({'alg': 'RS256', 'kid': kid, 'typ': 'JWT'})}.{rest}"
            found.add(await scene.status(presented))
            await asyncio.sleep(0)  # yield to the loop, as a real request would
        return found

    waits: list[float] = []

    async def customer() -> set[int]:
        found = set()
        for number in range(50):
            began = time.perf_counter()
            found.add(await scene.status(by(OLD, jti=str(number))))
            waits.append(time.perf_counter() - began)
        return found

    before = scene.provider.fetches
    *forged, served = await asyncio.gather(*(forger() for _ in range(20)), customer())
    assert forged == [{401}] * 20
    assert served == {200}
    assert max(waits) < 1.0
    assert scene.provider.fetches == before + 1


async def test_promise_42_without_provider_keys_are_used_up_to_their_maximum_age(
    scene: Scene,
) -> None:
    """Promise 42: readiness is DEGRADED with status 200: the gateway can still serve."""
    assert await scene.status(by(OLD)) == 200
    assert await scene.readiness() == (200, "UP")
    await scene.provider.stop()
    for _ in range(11):
        scene.clock.now += 300
        assert await scene.status(by(OLD)) == 200
        assert await scene.readiness() == (200, "DEGRADED")
    scene.clock.now += 300
    refused = await scene.shown(by(OLD))
    assert refused.problem()["status"] == 503
    assert int(refused.header("retry-after") or 0) > 0
    await scene.provider.start()
    scene.clock.now += 30
    assert await scene.status(by(OLD)) == 200
    assert await scene.readiness() == (200, "UP")


async def test_promise_42_provider_never_reached_is_503_for_tokens_only(scene: Scene) -> None:
    """Promise 42: requests without a token or with a malformed one get the usual response."""
    await scene.provider.stop()
    refused = await scene.shown(by(OLD))
    assert refused.problem()["status"] == 503
    assert int(refused.header("retry-after") or 0) > 0
    assert (await scene.door.ask("/api/products", f"Bearer {by(OLD)}")).status == 503
    for none in ("a.b.c", "x", by(OLD)[:40], token(OLD, alg="none")):
        assert await scene.status(none) == 401
    assert (await scene.door.ask(ORDERS)).status == 401
    assert (await scene.door.ask("/api/products")).status == 200
    assert (await scene.door.ask("/health")).status == 200
    await scene.provider.start()
    scene.clock.now += 2
    assert await scene.status(by(OLD)) == 200


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of tokens that python-jose verifies."""
    seen: list[str] = []
    decode = jwt.decode

    def noting(presented: str, *args: object, **options: object) -> object:
        seen.append(presented)
        return decode(presented, *args, **options)

    monkeypatch.setattr(jwt, "decode", noting)
    return seen


async def test_token_is_verified_once_and_expires_on_time(scene: Scene, decoded: list[str]) -> None:
    seen = by(OLD, exp=int(scene.today.now) + 60)
    assert {await scene.status(seen) for _ in range(10)} == {200}
    assert len(decoded) == 1
    scene.today.now += 60 + 29  # the leeway is 30
    assert await scene.status(seen) == 200
    scene.today.now += 2
    assert await scene.status(seen) == 401


async def test_changed_key_set_clears_the_token_cache(scene: Scene, decoded: list[str]) -> None:
    seen = by(OLD)
    assert await scene.status(seen) == 200
    scene.provider.publish(SigningKey("old", NEW.private))  # another key under the same id
    scene.clock.now += 300
    assert await scene.status(seen) == 401
    assert len(decoded) == 2


async def test_refused_token_is_never_cached(scene: Scene, decoded: list[str]) -> None:
    forged = token(NEW, kid="old")
    assert {await scene.status(forged) for _ in range(5)} == {401}
    assert len(decoded) == 5
    good = by(OLD)
    assert await scene.status(good) == 200
    for other in (good[:-1], f"{good}A", f"{good[:-6]}AAAAAA", good.replace(".", "..", 1)):
        assert await scene.status(other) == 401, "the cache key is the whole token"


async def test_token_cache_is_bounded(
    scene: Scene, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.security.token_verifier._CACHED_TOKENS", 3)
    many = [by(OLD, jti=str(number)) for number in range(6)]
    for presented in [*many, many[-1], many[0]]:
        assert await scene.status(presented) == 200
    assert decoded == [*many, many[0]]  # the last was cached, the first evicted
