"""`make doctor` names each reason why the gateway refuses a token, and how to fix it."""

import asyncio
import io
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.config import Settings
from fleet.testing.forged_tokens import Forger
from fleet.testing.token_mint import ISSUER, StandIn, claims, claims_of, stand_in, token
from fleet.tools.token_check import Finding, Mark, about_token, examine, run

FORGER = Forger.new()


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[StandIn]:
    async with stand_in(*FORGER.key_set()) as provider:
        yield provider


@pytest.fixture
def settings(provider: StandIn) -> Settings:
    return settings_at(provider)


def settings_at(provider: StandIn, **changed: Any) -> Settings:
    usual = {"oidc_issuer": provider.issuer, "oidc_jwks_url": provider.jwks_url}
    return Settings(**(usual | changed))


def bad(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.mark is Mark.BAD]


def text_of(findings: list[Finding]) -> str:
    return "\n".join(map(str, findings))


async def test_valid_token_has_no_bad_finding(provider: StandIn, settings: Settings) -> None:
    good = token(FORGER.key, claims_of("alice", "customer", iss=provider.issuer))
    for presented in (good, f"Bearer {good}", f"  {good}\n"):
        findings = await examine(settings, presented)
        assert {finding.mark for finding in findings} == {Mark.OK}, text_of(findings)
        assert "roles: customer" in text_of(findings)
    assert bad(await examine(settings, None)) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"iss": "http://127.0.0.1:8081/realms/microservices"}, "issued by http://127.0.0.1:8081"),
        ({"iss": None}, "issued by missing"),
        ({"aud": "account"}, "audience is account; OIDC_AUDIENCE is ecommerce-api"),
        ({"aud": ["account", "x"]}, "audience mapper"),
        ({"exp": int(time.time()) - 3600}, "It expired 36"),
        ({"exp": None}, "does not say when it expires"),
        ({"exp": 10**400}, "does not say when it expires"),
        ({"iat": int(time.time()) + 3600}, "The clocks differ"),
        ({"typ": "ID"}, "not the ID token"),
        ({"typ": "Refresh"}, "or the refresh token"),
        ({"sub": None}, "sub"),
        ({"nbf": int(time.time()) + 3600}, "not yet valid"),
    ],
)
async def test_invalid_claim_is_named(
    provider: StandIn, settings: Settings, changed: dict[str, Any], told: str
) -> None:
    presented = token(FORGER.key, claims(**{"iss": provider.issuer, **changed}))
    findings = await examine(settings, presented)
    assert told in text_of(bad(findings)), text_of(findings)
    assert "The gateway refuses it" in text_of(findings)
    assert presented not in text_of(findings)


async def test_wrong_signing_key_is_named(provider: StandIn, settings: Settings) -> None:
    mine = claims(iss=provider.issuer)
    unknown = text_of(bad(await examine(settings, token(FORGER.stranger, mine))))
    assert "Its key stranger is not in the provider's key set" in unknown
    foreign = token(FORGER.stranger, mine, kid=FORGER.key.kid)
    assert "Another provider signed it" in text_of(bad(await examine(settings, foreign)))
    refresh = token(FORGER.key, mine, alg="HS512")
    assert "signed with HS512" in text_of(bad(await examine(settings, refresh)))


async def test_oversized_token_is_reported_with_the_setting_to_change(
    provider: StandIn,
) -> None:
    mine = claims(iss=provider.issuer, padding="p" * 6_500)
    presented = token(FORGER.key, mine)
    settings = settings_at(provider, oidc_max_token_bytes=8_192)
    told = text_of(bad(await examine(settings, presented)))
    assert f"It has {len(presented)} bytes; OIDC_MAX_TOKEN_BYTES is 8192." in told
    assert "raise OIDC_MAX_TOKEN_BYTES of the gateway and of order-service" in told
    assert "The gateway refuses it" in told
    told = text_of(bad(await examine(settings_at(provider, max_head_bytes=9_000), presented)))
    assert "MAX_HEAD_BYTES is 9000" in told
    assert "raise MAX_HEAD_BYTES" in told
    findings = await examine(settings_at(provider), presented)
    assert bad(findings) == [], text_of(findings)


async def test_long_list_of_roles_is_truncated(provider: StandIn, settings: Settings) -> None:
    roles = [f"role-{number:03d}" for number in range(300)]
    presented = token(FORGER.key, claims_of("alice", *roles, iss=provider.issuer))
    verdict = str((await examine(settings, presented))[-1])
    assert "roles: role-000, role-001" in verdict
    assert len(verdict) < 300


async def test_wrong_header_type_is_named(provider: StandIn, settings: Settings) -> None:
    mine = claims(iss=provider.issuer)
    accepted = await examine(settings, token(FORGER.key, mine, typ="at+jwt"))
    assert bad(accepted) == []
    refused = text_of(bad(await examine(settings, token(FORGER.key, mine, typ="logout+jwt"))))
    assert "Its header's type (typ) is logout+jwt." in refused


async def test_key_set_without_optional_members_is_accepted() -> None:
    """RFC 7517: `use` and `alg` are optional. Entries that are not keys are ignored."""
    key = {name: FORGER.key.jwk()[name] for name in ("kty", "kid", "n", "e")}
    async with stand_in({"kid": "empty"}, key) as provider:
        good = token(FORGER.key, claims(iss=provider.issuer))
        findings = await examine(settings_at(provider), good)
    assert bad(findings) == [], text_of(findings)
    assert "holds 1 signing key." in text_of(findings)


@pytest.mark.parametrize("presented", ["", "hello", "a.b", "....", "a.b.c", "-1", "\x1b[31m.x.y"])
async def test_malformed_token_is_reported(settings: Settings, presented: str) -> None:
    assert "This is not a signed token" in text_of(bad(await examine(settings, presented)))


async def test_unreachable_or_wrong_provider_is_reported_with_the_setting_to_change(
    provider: StandIn,
) -> None:
    nobody = "http://127.0.0.1:1/realms/microservices"
    away = await examine(settings_at(provider, oidc_issuer=nobody, oidc_jwks_url=nobody), None)
    assert "no server accepts connections" in text_of(bad(away))
    container = await examine(settings_at(provider, oidc_issuer=nobody), None)
    assert bad(container) == []  # the gateway needs only the key set
    for url, told in {
        f"{provider.issuer}/nothing": "the answer is 404",
        f"{provider.issuer}/.well-known/openid-configuration": "holds 0 signing keys",
        "not an address": "cannot be read",
        "http://[": "cannot be read",
    }.items():
        wrong = text_of(bad(await examine(settings_at(provider, oidc_jwks_url=url), None)))
        assert told in wrong
        assert "OIDC_JWKS_URL" in wrong


async def test_settings_that_contradict_the_provider_are_reported() -> None:
    async with stand_in(FORGER.key) as provider:
        settings = settings_at(provider)
        provider.discovery = {"issuer": "https://id.example/realms/shop"}
        assert "Set OIDC_ISSUER=https://id.example" in text_of(bad(await examine(settings, None)))
        provider.discovery = {"jwks_uri": "http://elsewhere/certs"}
        elsewhere = await examine(settings, None)
        assert bad(elsewhere) == []
        assert "http://elsewhere/certs; OIDC_JWKS_URL is different" in text_of(elsewhere)
        provider.discovery = {}
        provider.clock_ahead = 90
        assert "clocks of both machines" in text_of(bad(await examine(settings, None)))
        provider.clock_ahead = -15
        assert bad(await examine(settings, None)) == []
        provider.keys = [{"kid": 7}, {"use": "sig"}]
        assert await examine(settings, "a.b.c")


async def test_forged_token_is_reported_without_echo_or_traceback(
    settings: Settings,
) -> None:
    """The forger's own issuer is configured, so that only the forged part is invalid."""
    update = {"oidc_issuer": ISSUER, "oidc_allowed_clients": frozenset({"storefront"})}
    settings = settings.model_copy(update=update)
    for number, (name, presented) in enumerate(FORGER.tokens()):
        findings = [*about_token(presented, settings, {"sig-1"})]
        if number % 10 == 0:  # a sample: the verifier has its own tests
            findings = await examine(settings, presented)
            assert bad(findings), name
        said = text_of(findings)
        assert said.replace("\n", "").isprintable()
        assert said.isascii()
        assert len(presented) < 20 or presented not in said


def test_exit_code_is_nonzero_after_a_bad_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OIDC_ISSUER", "OIDC_JWKS_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setattr("sys.stdin", io.StringIO("not-a-token\n"))
    assert run("-") == 1
    said = capsys.readouterr().out
    assert "no server accepts connections" in said
    assert "not a signed token" in said
    assert "not-a-token" not in said
    monkeypatch.setenv("OIDC_LEEWAY_SECONDS", "soon")
    assert run(None) == 1
    assert "OIDC_LEEWAY_SECONDS is invalid" in capsys.readouterr().out


async def test_exit_code_is_0_without_bad_findings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with stand_in(FORGER.key) as provider:
        monkeypatch.setenv("OIDC_ISSUER", provider.issuer)
        monkeypatch.setenv("OIDC_JWKS_URL", provider.jwks_url)
        good = token(FORGER.key, claims_of("alice", iss=provider.issuer))
        for presented in (None, good):
            assert await asyncio.to_thread(run, presented) == 0
            assert good not in capsys.readouterr().out
