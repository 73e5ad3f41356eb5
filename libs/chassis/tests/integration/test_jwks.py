"""The key set: rotation, many unknown kids, and an unavailable, slow or faulty provider."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from jose import jwt
from scripted_peer import Answer, Hang, ScriptedPeer, scripted_peer

from chassis.security.jwks import KeysUnavailable
from chassis.security.token_verifier import (
    AuthSettings,
    InvalidToken,
    TokenVerifier,
    UnverifiableToken,
)
from fleet.testing.token_mint import SigningKey, b64, claims, token

OLD, NEW, STRANGER = SigningKey.new("old"), SigningKey.new("new"), SigningKey.new("stranger")


class Clock:
    """A clock that only the test advances."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def key_set(*keys: SigningKey) -> Answer:
    return Answer(body={"keys": [key.jwk() for key in keys]})


@dataclass
class Realm:
    provider: ScriptedPeer
    verifier: TokenVerifier
    clock: Clock
    today: Clock

    def publish(self, answer: Answer | Hang) -> None:
        self.provider.script = lambda _: answer

    @property
    def fetches(self) -> int:
        return len(self.provider.requests)

    async def accepts(self, presented: str) -> bool:
        try:
            await self.verifier.verify(presented)
        except InvalidToken:
            return False
        return True


@pytest.fixture
async def realm() -> AsyncIterator[Realm]:
    async with scripted_peer(lambda _: key_set(OLD)) as provider:
        clock, today = Clock(5000.0), Clock(time.time())
        settings = AuthSettings(oidc_jwks_url=provider.url)
        verifier = TokenVerifier(settings, clock=clock, now=today)
        yield Realm(provider, verifier, clock, today)
        await verifier.aclose()


async def test_first_tokens_cause_one_shared_fetch_of_keys(
    realm: Realm,
) -> None:
    assert realm.fetches == 0
    assert all(await asyncio.gather(*(realm.accepts(token(OLD)) for _ in range(50))))
    assert realm.fetches == 1


async def test_cancelled_caller_does_not_cancel_the_shared_fetch(
    realm: Realm,
) -> None:
    first = asyncio.create_task(realm.accepts(token(OLD)))
    await asyncio.sleep(0)
    second = asyncio.create_task(realm.accepts(token(OLD)))
    await asyncio.sleep(0)
    first.cancel()
    assert await second
    assert realm.fetches == 1


async def test_ten_thousand_unknown_kids_cause_one_fetch_in_thirty_seconds(realm: Realm) -> None:
    """Promise 41: valid tokens are verified during the flood."""
    good = token(OLD)
    assert await realm.accepts(good)
    rest = good.partition(".")[2]

    def forged() -> str:
        return f"{b64({'alg': 'RS256', 'kid': secrets.token_hex(8)})}.{rest}"

    async def flood() -> None:
        for _ in range(5000):
            assert not await realm.accepts(forged())
        assert not any(await asyncio.gather(*(realm.accepts(forged()) for _ in range(5000))))
        assert await realm.accepts(token(OLD))

    await flood()
    assert realm.fetches == 1
    realm.clock.now += 30
    await flood()
    assert realm.fetches == 2


async def test_new_key_is_known_within_thirty_seconds(realm: Realm) -> None:
    """Promise 40."""
    assert await realm.accepts(token(OLD))
    realm.publish(key_set(NEW, OLD))
    realm.clock.now += 29
    assert not await realm.accepts(token(NEW))
    realm.clock.now += 1
    assert await realm.accepts(token(NEW))


async def test_no_valid_token_is_refused_while_both_keys_are_published(realm: Realm) -> None:
    """Promise 40."""
    assert await realm.accepts(token(OLD))
    realm.publish(key_set(NEW, OLD))
    for _ in range(60):
        realm.clock.now += 10
        assert await realm.accepts(token(OLD))
    assert await realm.accepts(token(NEW))


async def test_withdrawn_key_is_refused_after_its_time_to_live(realm: Realm) -> None:
    """Promise 40: this includes a cached token, even without requests in between."""
    seen = token(OLD)
    assert await realm.accepts(seen)
    realm.publish(key_set(NEW))
    realm.clock.now += 269
    assert await realm.accepts(seen)
    assert realm.fetches == 1
    realm.clock.now += 31
    assert not await realm.accepts(seen)
    assert not await realm.accepts(token(OLD))
    assert await realm.accepts(token(NEW))
    assert realm.fetches == 2


async def test_keys_in_use_are_refreshed_in_the_background(realm: Realm) -> None:
    """Promise 40: a slow fetch delays no valid token."""
    assert await realm.accepts(token(OLD))
    realm.publish(Hang())
    realm.clock.now += 270
    assert await asyncio.wait_for(realm.accepts(token(OLD)), 0.5)
    await realm.provider.arrived(2)
    realm.clock.now += 29
    assert await asyncio.wait_for(realm.accepts(token(OLD)), 0.5)


def entry(key: SigningKey, **changes: object) -> dict[str, object]:
    """Return the key's entry in a key set; None in `changes` removes a member."""
    changed = key.jwk() | changes
    return {name: value for name, value in changed.items() if value is not None}


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": None},
        {"use": None},
        {"alg": None, "use": None},
        {"alg": None, "use": None, "key_ops": ["verify"]},
        {"key_ops": ["verify"]},
        {"use": None, "key_ops": ["sign", "verify"]},
        {"x5t": "thumbprint", "x5c": ["MIIB"], "ext": True, "unknown": {"a": 1}},
    ],
)
async def test_key_without_optional_members_verifies(
    realm: Realm, changes: dict[str, object]
) -> None:
    """RFC 7517, section 4: alg, use and key_ops are optional."""
    realm.publish(Answer(body={"keys": [entry(OLD, **changes)]}))
    assert await realm.accepts(token(OLD))
    assert not await realm.accepts(token(NEW, kid="old"))


UNUSABLE: dict[str, object] = {
    "no object": "key",
    "null": None,
    "a list": [1],
    "empty": {},
    "for encryption": entry(NEW, use="enc"),
    "for encryption by its algorithm": entry(NEW, use=None, alg="RSA-OAEP"),
    "another algorithm": entry(NEW, alg="RS512"),
    "only for signing": entry(NEW, use=None, key_ops=["sign"]),
    "key_ops is text": entry(NEW, use=None, key_ops="verify"),
    "use is a list": entry(NEW, use=["sig"]),
    "an elliptic curve": {"kty": "EC", "kid": "new", "crv": "P-256", "x": "AA", "y": "AA"},
    "an octet key": {"kty": "oct", "kid": "new", "k": "AAAA"},
    "an Edwards curve": {"kty": "OKP", "kid": "new", "crv": "Ed25519", "x": "AA"},
    "no type": entry(NEW, kty=None),
    "no kid": entry(NEW, kid=None),
    "a number as kid": entry(NEW, kid=7),
    "no modulus": entry(NEW, n=None),
    "a number as modulus": entry(NEW, n=65537),
    "not base64": entry(NEW, n="!\u00e4"),
    "an empty modulus": entry(NEW, n=""),
    "an even modulus": entry(NEW, n=b64(b"\xff" * 255 + b"\xfe")),
    "1024 bits": entry(SigningKey.new("new", bits=1024)),
    "20,000 bits": entry(NEW, n=b64(b"\xff" * 2500)),
    "exponent 1": entry(NEW, e=b64(b"\x01")),
    "an even exponent": entry(NEW, e=b64(b"\x02")),
    "an exponent of 300 bytes": entry(NEW, e=b64(b"\xff" * 300)),
}


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_unusable_key_does_not_spoil_the_good_one(realm: Realm, unusable: object) -> None:
    for keys in ([unusable, OLD.jwk()], [OLD.jwk(), unusable]):
        realm.publish(Answer(body={"keys": keys}))
        realm.clock.now += 300
        assert await realm.accepts(token(OLD))
        assert not await realm.accepts(token(NEW))


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_unusable_key_of_the_same_kid_does_not_hide_the_good_one(
    realm: Realm, unusable: object
) -> None:
    if isinstance(unusable, dict) and "kid" in unusable:
        unusable = unusable | {"kid": "old"}
    realm.publish(Answer(body={"keys": [unusable, OLD.jwk(), unusable]}))
    assert await realm.accepts(token(OLD))


async def test_two_good_keys_with_one_kid_both_verify(realm: Realm) -> None:
    """RFC 7517, section 4.5, says only that a kid should be unique."""
    for keys in ([entry(NEW, kid="old"), OLD.jwk()], [OLD.jwk(), entry(NEW, kid="old")]):
        realm.publish(Answer(body={"keys": keys}))
        realm.clock.now += 300
        assert await realm.accepts(token(OLD))
        assert await realm.accepts(token(NEW, kid="old"))
        assert not await realm.accepts(token(STRANGER, kid="old"))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500),
        Answer(200, b"<html>"),
        Answer(200, {"keys": []}),
        Answer(200, {"keys": "none"}),
        Answer(200, {"keys": [{"kid": "old", "kty": "RSA", "use": "sig", "alg": "RS256"}]}),
        Answer(200, {"keys": [OLD.jwk(n="!", e="AQAB")]}),
        Answer(200, {"keys": [OLD.jwk(use="enc")]}),
        Answer(302, b"", (("location", "http://127.0.0.1:1/"),)),
    ],
)
async def test_last_valid_keys_are_used_while_the_provider_has_none(
    realm: Realm, answer: Answer
) -> None:
    """Promise 42: up to their maximum age; readiness reports it."""
    assert await realm.accepts(token(OLD))
    realm.publish(answer)
    for _ in range(11):
        realm.clock.now += 300
        assert await realm.accepts(token(OLD))
        with pytest.raises(KeysUnavailable):
            await realm.verifier.probe()
    realm.clock.now += 300
    with pytest.raises(UnverifiableToken):
        await realm.verifier.verify(token(OLD))
    realm.publish(key_set(OLD))
    realm.clock.now += 30
    assert await realm.accepts(token(OLD))
    await realm.verifier.probe()


async def test_readiness_reports_outage_and_return_of_the_provider_within_seconds(
    realm: Realm,
) -> None:
    """Promise 59: readiness checks do not increase the fetches for unknown keys."""
    assert await realm.accepts(token(OLD))
    realm.publish(Answer(500))
    await realm.verifier.probe()  # cached: the last fetch is recent
    realm.clock.now += 2
    with pytest.raises(KeysUnavailable):
        await realm.verifier.probe()
    realm.publish(key_set(OLD))
    realm.clock.now += 2
    await realm.verifier.probe()
    fetches = realm.fetches
    realm.clock.now += 29
    assert not await realm.accepts(token(NEW))
    assert realm.fetches == fetches


async def test_cached_token_is_refused_when_the_keys_are_too_old(realm: Realm) -> None:
    """Promise 42: the maximum age of keys applies to cached tokens too."""
    seen = token(OLD)
    assert await realm.accepts(seen)
    realm.publish(Answer(500))
    realm.clock.now += 3600
    with pytest.raises(UnverifiableToken):
        await realm.verifier.verify(seen)


async def test_hanging_provider_delays_valid_tokens_at_most_once(
    realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 42: after an idle time the first caller waits until the fetch times out."""
    monkeypatch.setattr("chassis.security.jwks.FETCH_TIMEOUT", 0.2)
    assert await realm.accepts(token(OLD))
    realm.publish(Hang())
    realm.clock.now += 300
    began = time.monotonic()
    assert await realm.accepts(token(OLD))
    assert 0.1 < time.monotonic() - began < 1.0
    for _ in range(10):
        realm.clock.now += 30
        began = time.monotonic()
        assert await realm.accepts(token(OLD))
        assert time.monotonic() - began < 0.1


async def test_service_started_before_the_provider_retries_soon(realm: Realm) -> None:
    realm.publish(Answer(503))
    for _ in range(10):
        with pytest.raises(UnverifiableToken):
            await realm.verifier.verify(token(OLD))
    assert realm.fetches == 1
    realm.publish(key_set(OLD))
    realm.clock.now += 2
    assert await realm.accepts(token(OLD))


async def test_verified_token_is_cached_until_it_expires(
    realm: Realm, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 0

    def counting(*args: object, **options: object) -> object:
        nonlocal decoded
        decoded += 1
        return decode(*args, **options)

    decode = jwt.decode
    monkeypatch.setattr(jwt, "decode", counting)
    seen = token(OLD, claims(exp=int(realm.today.now) + 60))
    for _ in range(10):
        assert await realm.accepts(seen)
    assert decoded == 1
    realm.today.now += 91  # one minute of validity and the leeway
    assert not await realm.accepts(seen)
    realm.today.now -= 91
    monkeypatch.setattr("chassis.security.token_verifier._CACHED_TOKENS", 3)
    decoded = 0
    others = [token(OLD, claims(jti=str(number))) for number in range(6)]
    for presented in [*others, others[-1], others[0]]:
        assert await realm.accepts(presented)
    assert decoded == 7  # the last was cached, the first evicted
