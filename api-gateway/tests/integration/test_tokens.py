"""Authentication and authorization with forged and valid tokens over real connections."""

import io
import logging
import re
import statistics
import time
from collections.abc import AsyncIterator

import pytest

from app.config import Settings
from app.policy import TABLE, Access, Operation
from chassis.observability.logging import JsonFormatter
from chassis.security.token_verifier import TokenVerifier
from fleet.testing.forged_tokens import Forger, Presented
from fleet.testing.token_mint import StandIn, claims_of, stand_in, token
from tests.conftest import MakeGateway, MakeSettings
from tests.fakes import FakeUpstream
from tests.gateways import Gateway, replies
from tests.inside import inside

FORGER = Forger.new()
ADMIN = token(FORGER.key, claims_of("admin", "admin", "customer"))
ALICE = token(FORGER.key, claims_of("alice", "customer"))
NO_ROLE = token(FORGER.key, claims_of("service-account-reporting"))
PROTECTED, PUBLIC = "/api/orders", "/api/products"
NOWHERE = "/api/nowhere"
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@pytest.fixture(scope="module")
async def forgers_provider() -> AsyncIterator[StandIn]:
    async with stand_in(*FORGER.key_set()) as provider:
        yield provider


@pytest.fixture
def door(gateway_of: MakeGateway, forgers_provider: StandIn) -> Gateway:
    """Return a gateway that knows the forger's keys and logs at every level."""
    return gateway_of(
        log_level="DEBUG",
        oidc_jwks_url=forgers_provider.jwks_url,
        oidc_allowed_clients=frozenset({"storefront"}),
    )


def log_of_this_process() -> io.StringIO:
    """Redirect the gateway's log from standard output to the returned stream."""
    handlers = logging.getLogger().handlers  # pytest's own among them
    [handler] = [each for each in handlers if isinstance(each.formatter, JsonFormatter)]
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    handler.setStream(written)
    return written


async def flaws_of(door: Gateway, presented: Presented, target: str) -> list[str]:
    """Return the flaws of the response. 400 and 431 are correct for heads invalid in HTTP."""
    lines = b"".join(b"Authorization: " + value + b"\r\n" for value in presented.headers)
    head = f"GET {target} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
    is_large = sum(map(len, presented.headers)) > 32_768
    try:
        [reply] = replies(await door.raw(head.encode() + lines + b"\r\n"))
    except ConnectionResetError:  # closed before the complete request was sent
        return [] if is_large else ["the connection was reset"]
    if reply.status == 431 and is_large:
        return []
    if reply.status == 400 and any(_CONTROL.search(value) for value in presented.headers):
        return []
    return presented.flaws(reply.status, dict(reply.headers), reply.body)


@pytest.mark.parametrize("target", [PROTECTED, PUBLIC, "/docs"])
async def test_promise_39_forged_token_is_401_on_protected_and_public_routes(
    door: Gateway, upstream: FakeUpstream, target: str
) -> None:
    """Promise 39: each forged token gets a correct 401, and no part of it is logged."""
    assert (await door.ask(target, token=ADMIN)).status == 200
    upstream.reset()
    written = log_of_this_process()
    table, wrong = FORGER.presented(), {}
    for presented in table:
        if flaws := await flaws_of(door, presented, target):
            wrong[presented.name] = flaws
    assert wrong == {}
    assert upstream.requests == []
    log = written.getvalue()
    assert log.count("token refused") > 150
    assert [p.name for p in table if p.leaked_into(log)] == []


async def test_promise_39_forged_token_is_refused_within_5_ms(
    settings_of: MakeSettings, forgers_provider: StandIn, upstream: FakeUpstream
) -> None:
    """Promise 39: calls the app directly, also with tokens that an HTTP server would refuse."""
    settings: Settings = settings_of(
        oidc_jwks_url=forgers_provider.jwks_url, oidc_allowed_clients=frozenset({"storefront"})
    )
    async with inside(settings, TokenVerifier(settings)) as door:
        assert (await door.ask(PROTECTED, f"Bearer {ADMIN}")).status == 200
        slow, took, wrong = {}, [], {}
        for presented in FORGER.presented():
            times = []
            for target in (PROTECTED, PUBLIC, NOWHERE):
                began = time.perf_counter()
                reply = await door.ask(target, *presented.headers)
                times.append(time.perf_counter() - began)
                if flaws := presented.flaws(reply.status, dict(reply.headers), reply.body):
                    wrong[presented.name] = flaws
            took += times
            if min(times) > 0.005:
                slow[presented.name] = times
    assert wrong == {}
    assert slow == {}
    assert statistics.median(took) < 0.005


async def test_missing_token_is_401_with_challenge_except_on_public_routes(
    gateway: Gateway,
) -> None:
    reply = await gateway.ask(PROTECTED)
    assert reply.problem()["status"] == 401
    assert reply.header("www-authenticate") == "Bearer"
    assert (await gateway.ask(PUBLIC)).status == 200


async def test_token_outside_the_authorization_header_is_ignored(door: Gateway) -> None:
    for target in (f"{PROTECTED}?access_token={ADMIN}", f"{PROTECTED}?token={ADMIN}"):
        assert (await door.ask(target)).status == 401
    for name in ("Cookie", "X-Authorization", "Proxy-Authorization", "X-Access-Token", "Auth"):
        headers = {name: f"Bearer {ADMIN}" if name != "Cookie" else f"access_token={ADMIN}"}
        assert (await door.ask(PROTECTED, headers=headers)).status == 401, name
    spoofed = {"X-User-Id": "admin", "X-User-Roles": "admin", "X-Forwarded-User": "admin"}
    assert (await door.ask(PROTECTED, headers=spoofed)).status == 401


def of_size(size: int) -> str:
    """Return a valid token of about this many bytes."""
    padding = "p" * ((size - len(ALICE)) * 3 // 4)
    return token(FORGER.key, claims_of("alice", "customer", padding=padding))


async def test_large_token_is_accepted_up_to_the_limit_of_heads(
    door: Gateway, upstream: FakeUpstream
) -> None:
    for size in (9_000, 20_000, 32_000):
        presented = of_size(size)
        assert (await door.ask(PROTECTED + "/me", token=presented)).status == 200
        assert upstream.requests[-1].header("authorization") == f"Bearer {presented}"


async def test_token_over_the_head_limit_is_431_with_the_reason(
    door: Gateway, upstream: FakeUpstream
) -> None:
    answer = await door.ask(PROTECTED, token=of_size(33_000))
    assert answer.status == 431
    detail = "The request headers, including the access token, are larger than 32768 bytes."
    assert answer.problem()["detail"] == detail
    assert upstream.requests == []


async def test_token_over_its_own_limit_is_401_with_the_reason(
    gateway_of: MakeGateway, forgers_provider: StandIn, upstream: FakeUpstream
) -> None:
    door = gateway_of(oidc_jwks_url=forgers_provider.jwks_url, oidc_max_token_bytes=8_192)
    answer = await door.ask(PROTECTED, token=of_size(9_000))
    assert answer.status == 401
    assert answer.problem()["detail"] == "The token is too large: more than 8192 bytes."
    assert str(answer.header("www-authenticate")).startswith("Bearer")
    assert upstream.requests == []


def url_of(row: Operation) -> str:
    return re.sub(r"\{\w+\}", "7c9e6679-7425-40de-944b-e07fc1f90ae7", row.path)


@pytest.mark.parametrize(
    ("who", "refused_with", "may"),
    [
        (None, 401, {Access.PUBLIC}),
        (NO_ROLE, 403, {Access.PUBLIC, Access.SIGNED_IN}),
        (ALICE, 403, {Access.PUBLIC, Access.SIGNED_IN, Access.CUSTOMER}),
        (ADMIN, None, set(Access)),
    ],
    ids=["anonymous", "no role", "customer", "admin"],
)
async def test_promise_49_each_operation_admits_only_the_roles_of_the_table(
    door: Gateway,
    upstream: FakeUpstream,
    who: str | None,
    refused_with: int | None,
    may: set[Access],
) -> None:
    """Promise 49: for each row of the table. A refused request does not reach the service."""
    for row in TABLE:
        upstream.reset()
        body = b"" if row.method == "GET" else b"{}"
        reply = await door.ask(url_of(row), method=row.method, body=body, token=who)
        expected = 200 if row.access in may else refused_with
        assert reply.status == expected, (row, reply)
        assert [seen.method for seen in upstream.requests] == [row.method] * (row.access in may)
        if reply.status != 200:
            reply.problem()


async def test_upstream_receives_the_verified_token(door: Gateway, upstream: FakeUpstream) -> None:
    await door.ask(PROTECTED, headers={"Authorization": f"bEARER   {ADMIN}"})
    assert upstream.requests[-1].all("authorization") == [f"Bearer {ADMIN}"]
    await door.ask(PUBLIC)
    assert upstream.requests[-1].all("authorization") == []
