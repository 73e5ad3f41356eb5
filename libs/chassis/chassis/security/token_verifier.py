"""Who calls: an access token of the identity provider, verified here and trusted nowhere else.

python-jose does the cryptography and no more. What it leaves open is closed around it: it accepts
tokens without `aud` or `exp`, ID tokens, a foreign `kid`, an `iat` in the future.
"""

import base64
import json
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from jose import jwt
from jose.exceptions import ExpiredSignatureError, JOSEError
from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode

from chassis.email_address import comparable_address
from chassis.security.jwks import KeySet, KeysUnavailable

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_KEY_IN_HEADER = frozenset({"jku", "jwk", "x5u", "x5c", "crit"})
_TIMES = ("exp", "iat", "nbf")
_FAR_FUTURE = 1e11
_TOKEN_TYPES = frozenset({"jwt", "at+jwt"})  # RFC 7519 and RFC 9068, in lower case
_CACHED_TOKENS = 4096
_LONGEST_CACHED = 8192  # bytes: the cache takes 32 MB at most


class AuthSettings(BaseSettings):
    """Mixed into the settings of a service that verifies tokens."""

    oidc_issuer: str = Field(
        default="http://localhost:8081/realms/microservices",
        description="`iss` of every token: the URL that the browser used",
    )
    oidc_jwks_url: str = Field(
        default="http://localhost:8081/realms/microservices/protocol/openid-connect/certs",
        description="where this service fetches the keys; in a container not the issuer's host",
    )
    oidc_audience: str = "ecommerce-api"
    oidc_allowed_clients: Annotated[
        frozenset[str],
        NoDecode,
        BeforeValidator(lambda v: v.replace(",", " ").split() if isinstance(v, str) else v),
    ] = Field(default=frozenset(), description="values of `azp`, comma-separated; empty: any")
    oidc_leeway_seconds: int = Field(default=30, ge=0, le=300)
    oidc_max_token_bytes: int = Field(
        default=32_768, gt=0, description="the gateway's MAX_HEAD_BYTES bounds it, too"
    )
    oidc_keys_ttl_seconds: float = Field(
        default=300, gt=0, description="a key that was taken back is trusted no longer than this"
    )
    oidc_keys_max_age_seconds: float = Field(
        default=3600, gt=0, description="trusted so long while the provider is away"
    )


class InvalidToken(Exception):
    """Not a token to act on: a 401.

    Attributes:
        reason: a plain sentence for logs and the doctor; nothing of the token is in it.
        detail: a sentence for the client.
    """

    def __init__(self, reason: str, detail: str = "The token is not valid here.") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class UnverifiableToken(InvalidToken):
    """No key is known to verify any token with; a service may answer 503 instead."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a verified token speaks for.

    Attributes:
        subject: the provider's stable id of the user.
        email: in lower case; None where there is none or it was not verified.
        roles: the realm's roles.
        expires_at: POSIX seconds.
    """

    subject: str
    email: str | None
    roles: frozenset[str]
    expires_at: float


def bearer_token(header_values: Sequence[str]) -> str | None:
    """What a request's Authorization headers call a token; None where there is no such header.

    Raises:
        InvalidToken: several headers, or another scheme.
    """
    if not header_values:
        return None
    if len(header_values) > 1:
        raise InvalidToken("There are several Authorization headers.")
    scheme, _, rest = header_values[0].partition(" ")
    if scheme.lower() != "bearer":
        raise InvalidToken("The Authorization header is not of the form 'Bearer <token>'.")
    return rest.strip(" ")


class TokenVerifier:
    """Built in the lifespan and closed there; fetches keys when the first token comes.

    Args:
        now: POSIX seconds.
        clock: monotonic seconds, for the age of the keys.
    """

    def __init__(
        self,
        settings: AuthSettings,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._now = now
        self._keys = KeySet(
            settings.oidc_jwks_url,
            ttl=settings.oidc_keys_ttl_seconds,
            max_age=settings.oidc_keys_max_age_seconds,
            clock=clock,
        )
        self._verified: OrderedDict[str, tuple[int, Identity]] = OrderedDict()

    async def verify(self, token: str) -> Identity:
        """Who this access token speaks for.

        Raises:
            InvalidToken: it is forged, expired, for someone else, or no access token at all.
            UnverifiableToken: the provider never gave its keys, or too long ago.
        """
        if self._keys.fresh and (known := self._recall(token)) is not None:
            return known
        if len(token) > (limit := self._settings.oidc_max_token_bytes):
            raise InvalidToken(
                f"The token is larger than OIDC_MAX_TOKEN_BYTES, {limit}.",
                f"The token is too large: more than {limit} bytes.",
            )
        kid = _key_id(token)
        try:
            await self._keys.ready()
        except KeysUnavailable:
            raise UnverifiableToken("No signing key of the identity provider is known.") from None
        if (known := self._recall(token)) is not None:
            return known
        keys = await self._keys.find(kid)
        if not keys:
            raise InvalidToken("The token is signed with an unknown key.")
        version = self._keys.version
        identity = self._identity(self._claims(token, keys))
        if len(token) <= _LONGEST_CACHED:
            self._verified[token] = (version, identity)
        if len(self._verified) > _CACHED_TOKENS:
            self._verified.popitem(last=False)
        return identity

    async def probe(self) -> None:
        """For readiness: raises when the provider, asked at most 2 s ago, gave no keys."""
        await self._keys.probe()

    async def aclose(self) -> None:
        await self._keys.aclose()

    def _recall(self, token: str) -> Identity | None:
        version, identity = self._verified.get(token, (-1, None))
        if identity is None:
            return None
        if version != self._keys.version or self._expired(identity.expires_at):
            del self._verified[token]
            return None
        self._verified.move_to_end(token)
        return identity

    def _expired(self, expires_at: float) -> bool:
        return self._now() > expires_at + self._settings.oidc_leeway_seconds

    def _claims(self, token: str, keys: tuple[Any, ...]) -> dict[str, Any]:
        required = {f"require_{name}": True for name in ("exp", "iat", "iss", "aud", "sub")}
        leeway = self._settings.oidc_leeway_seconds
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                keys,
                algorithms=["RS256"],  # a str would be searched for a substring
                audience=self._settings.oidc_audience,
                issuer=self._settings.oidc_issuer,
                options=required | {"leeway": leeway, "verify_at_hash": False},
            )
            return claims
        except ExpiredSignatureError:
            raise InvalidToken("The token has expired.") from None
        except JOSEError as error:
            raise InvalidToken(f"The token was refused: {error}") from None
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise InvalidToken("A claim of the token has the wrong type.") from None

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        settings = self._settings
        if any(name in claims and not _is_time(claims[name]) for name in _TIMES):
            raise InvalidToken("A time in the token is not a number.")
        if self._expired(claims["exp"]):
            raise InvalidToken("The token has expired.")
        if claims["iat"] > self._now() + settings.oidc_leeway_seconds:
            raise InvalidToken("The token was issued in the future.")
        if claims.get("typ") != "Bearer":
            raise InvalidToken("The token is not an access token.")
        allowed = settings.oidc_allowed_clients
        if allowed and str(claims.get("azp")) not in allowed:
            raise InvalidToken("The token was issued to a client that is not allowed.")
        if not _is_name(claims["sub"]):
            raise InvalidToken("The token's subject is empty or not a name.")
        return Identity(
            subject=claims["sub"],
            email=_email(claims),
            roles=_roles(claims),
            expires_at=claims["exp"],
        )


def _key_id(token: str) -> str:
    """The kid of a token whose header asks for nothing but RS256 with one of our keys."""
    if not _COMPACT.fullmatch(token):
        raise InvalidToken("The token is not three base64url parts.")
    part = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        raise InvalidToken("The token's header is not JSON.") from None
    if not isinstance(header, dict) or header.get("alg") != "RS256":
        raise InvalidToken("The token is not signed with RS256.")
    if _KEY_IN_HEADER & header.keys():
        raise InvalidToken("The token's header names a key or an extension of its own.")
    if not is_token_type(header.get("typ", "JWT")):
        raise InvalidToken("The token's header is not of type JWT or at+jwt.")
    if not _is_name(header.get("kid")):
        raise InvalidToken("The token's header names no key.")
    return str(header["kid"])


def is_token_type(typ: object) -> bool:
    """Whether a media type, which has no case, says JWT; "application/" may be left out."""
    return isinstance(typ, str) and typ.lower().removeprefix("application/") in _TOKEN_TYPES


def _is_name(value: object) -> bool:
    """Text that is safe to store and to log: no control character, no half of a surrogate pair."""
    return isinstance(value, str) and 0 < len(value) <= 255 and value.isprintable()


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and value is not True and 0 < value < _FAR_FUTURE


def _email(claims: Mapping[str, Any]) -> str | None:
    """Return the verified address in the form in which addresses are compared, or None.

    In an address that is not valid, only A to Z are lowered: the Kelvin sign's lower case is `k`,
    which is in another person's address.
    """
    email = claims.get("email")
    if not _is_name(email) or claims.get("email_verified", True) is not True:
        return None
    try:
        return comparable_address(str(email))
    except ValueError:
        return str(email).encode().lower().decode()


def _roles(claims: Mapping[str, Any]) -> frozenset[str]:
    access = claims.get("realm_access")
    roles = access.get("roles") if isinstance(access, Mapping) else None
    return frozenset(r for r in (roles if isinstance(roles, list) else ()) if isinstance(r, str))
