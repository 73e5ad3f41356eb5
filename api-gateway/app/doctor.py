"""Says in plain words whether this gateway fits its identity provider, and why a token is refused.

It asks what the verifier asks, one question at a time, and leaves the verdict to the verifier.
"""

import base64
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from app.config import Settings
from chassis.auth import InvalidToken, TokenVerifier

_FETCH_SECONDS = 5.0
_SKEW_SECONDS = 5.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One question and its answer; `advice` says what to do where it is bad."""

    good: bool
    text: str
    advice: str = ""

    def __str__(self) -> str:
        mark = "ok  " if self.good else "BAD "
        return f"{mark} {self.text}" + (f"\n       -> {self.advice}" if self.advice else "")


async def examine(settings: Settings, token: str | None) -> int:
    """Print the findings; 0 when all are good, else 1.

    Args:
        token: an access token; `-` reads it from standard input; None: only the settings.
    """
    if token == "-":  # noqa: S105
        token = sys.stdin.readline()
    async with httpx2.AsyncClient(timeout=_FETCH_SECONDS, trust_env=False) as http:
        findings = [finding async for finding in _about_provider(http, settings)]
        keys = await _keys(http, settings)
    if token:
        findings += _about_token(token.strip().removeprefix("Bearer "), settings, keys)
        findings.append(await _verdict(token.strip().removeprefix("Bearer "), settings))
    print(*findings, sep="\n")  # noqa: T201
    return 0 if all(finding.good for finding in findings) else 1


async def _about_provider(http: httpx2.AsyncClient, settings: Settings) -> AsyncIterator[Finding]:
    url = f"{settings.oidc_issuer}/.well-known/openid-configuration"
    try:
        reply = await http.get(url)
        reply.raise_for_status()
        document: Json = reply.json()
    except (httpx2.HTTPError, ValueError) as error:
        yield Finding(
            False,
            f"The discovery document at {url} cannot be read: {error}",
            "Is the identity provider up? Inside a container the issuer's host may not be"
            " reachable: then this is expected, and only the key set counts.",
        )
        return
    issuer = document.get("issuer")
    yield Finding(
        issuer == settings.oidc_issuer,
        f"The provider calls itself {issuer}; OIDC_ISSUER is {settings.oidc_issuer}.",
        "" if issuer == settings.oidc_issuer else f"Set OIDC_ISSUER={issuer}",
    )
    jwks = document.get("jwks_uri")
    if jwks != settings.oidc_jwks_url:
        yield Finding(
            True,
            f"OIDC_JWKS_URL is {settings.oidc_jwks_url}, the provider names {jwks}."
            " That is right where the provider has another address from here.",
        )
    yield _clock(reply.headers.get("date"))


def _clock(date: str | None) -> Finding:
    if date is None:
        return Finding(True, "The provider tells no time to compare the clock with.")
    skew = time.time() - parsedate_to_datetime(date).timestamp()
    good = abs(skew) < _SKEW_SECONDS
    text = f"This machine's clock and the provider's differ by {abs(skew):.0f} s."
    return Finding(good, text, "" if good else "Set the clocks (NTP) on both machines.")


async def _keys(http: httpx2.AsyncClient, settings: Settings) -> Json | None:
    """The signing keys by id; None where they cannot be had."""
    try:
        reply = await http.get(settings.oidc_jwks_url)
        reply.raise_for_status()
        return {key["kid"]: key for key in reply.json()["keys"] if key.get("use") == "sig"}
    except (httpx2.HTTPError, ValueError, KeyError, TypeError):
        return None


def _about_token(token: str, settings: Settings, keys: Json | None) -> Iterator[Finding]:
    if keys is None:
        yield Finding(
            False,
            f"The key set at {settings.oidc_jwks_url} cannot be read.",
            "Set OIDC_JWKS_URL to an address of the provider that works from here.",
        )
    try:
        header, claims = (_part(token, number) for number in (0, 1))
    except (ValueError, IndexError):
        yield Finding(
            False,
            "This is not a signed token (three base64url parts).",
            "Copy the whole access_token of the token endpoint's answer.",
        )
        return
    yield from _about_header(header, keys)
    yield from _about_claims(claims, settings)


def _part(token: str, number: int) -> Json:
    text = token.split(".")[number]
    part = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    if not isinstance(part, dict):
        raise ValueError("not an object")
    return part


def _about_header(header: Json, keys: Json | None) -> Iterator[Finding]:
    good = header.get("alg") == "RS256"
    advice = (
        "" if good else "Only RS256 is accepted. A refresh token is HS512: send the access token."
    )
    yield Finding(good, f"It is signed with {header.get('alg')}.", advice)
    if keys is not None:
        good = header.get("kid") in keys
        yield Finding(
            good,
            f"Its key {header.get('kid')} is {'one' if good else 'none'} of the provider's.",
            "" if good else "Was the provider set up anew since? Then get a new token.",
        )


def _about_claims(claims: Json, settings: Settings) -> Iterator[Finding]:
    issuer, audience = claims.get("iss"), claims.get("aud")
    good = issuer == settings.oidc_issuer
    yield Finding(
        good,
        f"It was issued by {issuer}; OIDC_ISSUER is {settings.oidc_issuer}.",
        "" if good else "Both must be the same, to the letter: localhost is not 127.0.0.1.",
    )
    audiences = audience if isinstance(audience, list) else [audience]
    good = settings.oidc_audience in audiences
    yield Finding(
        good,
        f"It is meant for {audience}; OIDC_AUDIENCE is {settings.oidc_audience}.",
        "" if good else "The client needs an audience mapper for it (see realm-export.json).",
    )
    good = claims.get("typ") == "Bearer"
    advice = "" if good else "Send the access token, not the ID token or the refresh token."
    yield Finding(good, f"Its kind is {claims.get('typ')}.", advice)
    yield from _about_times(claims, settings.oidc_leeway_seconds)


def _about_times(claims: Json, leeway: int) -> Iterator[Finding]:
    now = time.time()
    for name, text in (("exp", "expires"), ("iat", "was issued")):
        moment = claims.get(name)
        if not isinstance(moment, int | float):
            yield Finding(False, f"It does not say when it {text} ({name}).")
            continue
        ahead = moment - now
        good = ahead > -leeway if name == "exp" else ahead < leeway
        when = f"in {ahead:.0f} s" if ahead > 0 else f"{-ahead:.0f} s ago"
        advice = "Get a new token." if name == "exp" else "Set the clocks (NTP)."
        yield Finding(good, f"It {text} {when}.", "" if good else advice)


async def _verdict(token: str, settings: Settings) -> Finding:
    verifier = TokenVerifier(settings)
    try:
        identity = await verifier.verify(token)
    except InvalidToken as error:
        return Finding(False, f"The gateway refuses it: {error.reason}")
    finally:
        await verifier.aclose()
    roles = ", ".join(sorted(identity.roles)) or "none"
    email = identity.email or "no verified e-mail address"
    return Finding(True, f"The gateway accepts it: {identity.subject}, {email}, roles: {roles}.")
