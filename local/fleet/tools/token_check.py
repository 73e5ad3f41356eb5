"""Explain why the gateway refuses a token, and check its identity provider settings.

``doctor.py`` runs this script with the gateway's interpreter, because it uses the gateway's
``app.config`` and the token verifier of the chassis. It checks each condition of the verifier
separately, then the verifier itself. Text from a token or a provider is printed as truncated ASCII.
The token itself is never printed.
"""

import asyncio
import base64
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import aiohttp
from pydantic import ValidationError

from app.config import Settings
from chassis.security.jwks import signing_keys
from chassis.security.token_verifier import InvalidToken, TokenVerifier, is_token_type

_FETCH_SECONDS = 5.0
_NOTABLE_SKEW = 5.0  # seconds
_LONGEST = 120
_OTHER_HEADERS = 1_000  # bytes of a browser's other headers
_FEWER_CLAIMS = "Map fewer roles and claims into the token, or"
Json = dict[str, Any]


class Mark(StrEnum):
    OK = "ok"
    NOTE = "note"
    BAD = "BAD"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `advice` tells how to fix a bad one."""

    mark: Mark
    text: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f"\n      -> {self.advice}" if self.advice else ""
        return f"{self.mark:<5} {self.text}{advice}"


def check(good: bool, text: str, advice: str) -> Finding:
    """Return an ok finding, or a bad one with its advice."""
    return Finding(Mark.OK, text) if good else Finding(Mark.BAD, text, advice)


def run(token: str | None) -> int:
    """Print the findings. Return 0 if none is bad, else 1.

    Args:
        token: an access token, `-` to read it from standard input, None to check settings only.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        for wrong in error.errors():
            name = str(wrong["loc"][0]).upper() if wrong["loc"] else "A setting"
            print(Finding(Mark.BAD, f"{name} is invalid: {wrong['msg']}."))
        return 1
    if token == "-":  # noqa: S105
        token = sys.stdin.readline()
    findings = asyncio.run(examine(settings, token))
    print(*findings, sep="\n")
    return 1 if any(finding.mark is Mark.BAD for finding in findings) else 0


async def examine(settings: Settings, token: str | None) -> list[Finding]:
    """Check provider and settings, then the token."""
    timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as http:
        discovery = await _fetched(http, f"{settings.oidc_issuer}/.well-known/openid-configuration")
        key_set = await _fetched(http, settings.oidc_jwks_url)
    findings = [*_about_discovery(discovery, settings), *_about_keys(key_set, settings)]
    date = key_set.date or discovery.date
    if date is not None:
        findings.append(_clock(date, settings.oidc_leeway_seconds))
    if token is not None:
        token = token.strip().removeprefix("Bearer ").strip()
        findings += about_token(token, settings, set(signing_keys(key_set.document)))
        findings.append(await _verified(token, settings))
    return findings


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A JSON object from the provider, or the problem of its request."""

    document: Json
    problem: str = ""
    date: float | None = None


async def _fetched(http: aiohttp.ClientSession, url: str) -> _Fetched:
    try:
        async with http.get(url, allow_redirects=False) as reply:
            content = await reply.read()
    except TimeoutError:
        return _Fetched({}, f"no answer within {_FETCH_SECONDS:.0f} s")
    except aiohttp.ClientConnectorError:
        return _Fetched({}, "no server accepts connections at that address")
    except (aiohttp.ClientError, ValueError) as error:
        return _Fetched({}, _shown(error))
    date = _moment(reply.headers.get("date", ""))
    if reply.status != 200:
        return _Fetched({}, f"the answer is {reply.status}", date)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return _Fetched({}, "the answer is not JSON", date)
    if not isinstance(document, dict):
        return _Fetched({}, "the answer is not a JSON object", date)
    return _Fetched(document, date=date)


def _moment(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None


def _about_discovery(fetched: _Fetched, settings: Settings) -> Iterator[Finding]:
    if fetched.problem:
        yield Finding(
            Mark.NOTE,
            f"The discovery document of {settings.oidc_issuer} cannot be read: {fetched.problem}.",
            "Check OIDC_ISSUER and the provider. In a container the provider's public address may"
            " be unreachable; then only the key set matters.",
        )
        return
    issuer, jwks = fetched.document.get("issuer"), fetched.document.get("jwks_uri")
    yield check(
        issuer == settings.oidc_issuer,
        f"The provider's issuer is {_shown(issuer)}; OIDC_ISSUER is {settings.oidc_issuer}.",
        f"Set OIDC_ISSUER={_shown(issuer)}",
    )
    if jwks != settings.oidc_jwks_url:
        yield Finding(
            Mark.NOTE,
            f"The provider's jwks_uri is {_shown(jwks)}; OIDC_JWKS_URL is different.",
            "This is correct if the gateway reaches the provider by another address.",
        )


def _about_keys(fetched: _Fetched, settings: Settings) -> Iterator[Finding]:
    url = settings.oidc_jwks_url
    if fetched.problem:
        yield Finding(
            Mark.BAD,
            f"The key set at {url} cannot be read: {fetched.problem}.",
            "Check that the provider runs. Set OIDC_JWKS_URL to an address of its key set that the"
            " gateway can reach.",
        )
        return
    count = len(signing_keys(fetched.document))
    yield check(
        count > 0,
        f"The key set at {url} holds {count} signing key{'' if count == 1 else 's'}.",
        "OIDC_JWKS_URL is not the address of a key set; Keycloak's path ends with"
        " /protocol/openid-connect/certs.",
    )


def _clock(date: float, leeway: float) -> Finding:
    skew = abs(time.time() - date)
    text = f"This machine's clock and the provider's differ by {skew:.0f} s; {leeway} s are allowed"
    advice = "Set the clocks of both machines (NTP)."
    if skew <= _NOTABLE_SKEW:
        return Finding(Mark.OK, f"{text}.")
    return Finding(Mark.NOTE if skew < leeway else Mark.BAD, f"{text}.", advice)


def about_token(token: str, settings: Settings, keys: set[str]) -> Iterator[Finding]:
    """Check size, header, claims and times of a token. Does not verify the signature."""
    yield from _about_size(len(token), settings)
    try:
        head, payload, _ = token.split(".")
        header, claims = _part(head), _part(payload)
    except (ValueError, RecursionError):
        yield Finding(
            Mark.BAD,
            "This is not a signed token: it must have three base64url parts separated by dots.",
            "Copy the complete access_token of the token endpoint's response.",
        )
        return
    yield from _about_header(header, keys)
    yield from _about_claims(claims, settings)
    yield from _about_times(claims, settings.oidc_leeway_seconds)


def _about_size(size: int, settings: Settings) -> Iterator[Finding]:
    limit = settings.oidc_max_token_bytes
    yield check(
        size <= limit,
        f"It has {size} bytes; OIDC_MAX_TOKEN_BYTES is {limit}.",
        f"{_FEWER_CLAIMS} raise OIDC_MAX_TOKEN_BYTES of the gateway and of order-service.",
    )
    limit = settings.max_head_bytes
    yield check(
        size + _OTHER_HEADERS <= limit,
        f"With about {_OTHER_HEADERS} bytes of other headers the request head has"
        f" {size + _OTHER_HEADERS}; MAX_HEAD_BYTES is {limit}.",
        f"{_FEWER_CLAIMS} raise MAX_HEAD_BYTES of the gateway.",
    )


def _part(text: str) -> Json:
    part = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if not isinstance(part, dict):
        raise ValueError("not an object")
    return part


def _about_header(header: Json, keys: set[str]) -> Iterator[Finding]:
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    yield check(
        is_token_type(kind),
        f"Its header's type (typ) is {_shown(kind)}.",
        "Send an access token: JWT or at+jwt.",
    )
    yield check(
        algorithm == "RS256",
        f"It is signed with {_shown(algorithm)}.",
        "Only RS256 is accepted. Keycloak's refresh token is HS512: send the access token.",
    )
    if keys:
        known = isinstance(kid, str) and kid in keys
        yield check(
            known,
            f"Its key {_shown(kid)} is {'' if known else 'not '}in the provider's key set.",
            "The token is from another provider or signed by a removed key. Get a new token.",
        )


def _about_claims(claims: Json, settings: Settings) -> Iterator[Finding]:
    issuer, audience, kind = claims.get("iss"), claims.get("aud"), claims.get("typ")
    yield check(
        issuer == settings.oidc_issuer,
        f"It was issued by {_shown(issuer)}; OIDC_ISSUER is {settings.oidc_issuer}.",
        "Both must be equal: localhost differs from 127.0.0.1. Get the token from the address in"
        " OIDC_ISSUER, or set OIDC_ISSUER to the token's issuer.",
    )
    audiences = audience if isinstance(audience, list) else [audience]
    yield check(
        settings.oidc_audience in audiences,
        f"Its audience is {_shown(audience)}; OIDC_AUDIENCE is {settings.oidc_audience}.",
        "The client needs an audience mapper for it, as in docker/keycloak/realm-export.json.",
    )
    yield check(
        kind == "Bearer",
        f"Its kind (typ) is {_shown(kind)}.",
        "Send the access token (Bearer), not the ID token or the refresh token.",
    )


def _about_times(claims: Json, leeway: int) -> Iterator[Finding]:
    now = time.time()
    for name, text in (("exp", "expires"), ("iat", "was issued")):
        moment = claims.get(name)
        if not isinstance(moment, int | float) or not abs(moment) < 1e11:
            yield Finding(Mark.BAD, f"It does not say when it {text} ({name}).")
            continue
        ahead = moment - now
        if name == "exp":
            text = "expires" if ahead > 0 else "expired"
        when = f"in {ahead:.0f} s" if ahead > 0 else f"{-ahead:.0f} s ago"
        yield check(
            ahead > -leeway if name == "exp" else ahead < leeway,
            f"It {text} {when}.",
            "Get a new token."
            if name == "exp"
            else "The clocks differ: set those of both machines (NTP).",
        )


async def _verified(token: str, settings: Settings) -> Finding:
    verifier = TokenVerifier(settings)
    try:
        identity = await verifier.verify(token)
    except InvalidToken as error:
        changed = "Signature" in error.reason
        advice = "Another provider signed it, or it was modified." if changed else ""
        return Finding(Mark.BAD, f"The gateway refuses it: {_shown(error.reason)}", advice)
    finally:
        await verifier.aclose()
    roles = _shown(", ".join(sorted(identity.roles)) or "none")
    email = _shown(identity.email) if identity.email else "no verified e-mail address"
    text = f"The gateway accepts it: {_shown(identity.subject)}, {email}, roles: {roles}."
    return Finding(Mark.OK, text)


def _shown(value: object) -> str:
    """Return truncated ASCII without control characters, which is safe on a terminal."""
    if value is None:
        return "missing"
    text = ascii(str(value))[1:-1]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


if __name__ == "__main__":
    sys.exit(run(sys.argv[1] if len(sys.argv) > 1 else None))
