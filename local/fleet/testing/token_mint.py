"""A fake identity provider for tests: keys, signed tokens, and documents over HTTP.

It signs tokens that a real provider would not issue, and a test can change its keys.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER = "http://localhost:8081/realms/microservices"
AUDIENCE = "ecommerce-api"
Json = dict[str, Any]


def b64(data: bytes | Json) -> str:
    """Encode as base64url without padding; objects as JSON."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value: int) -> str:
    """Encode a number for a JWK."""
    return b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@dataclass
class SigningKey:
    """A key pair with its key id."""

    kid: str
    private: rsa.RSAPrivateKey

    @classmethod
    def new(cls, kid: str, bits: int = 2048) -> SigningKey:
        """Create a new key pair."""
        return cls(kid, rsa.generate_private_key(public_exponent=65537, key_size=bits))

    def jwk(self, **other: str) -> Json:
        """Return the public key as a JWK."""
        numbers = self.private.public_key().public_numbers()
        named = {"kid": self.kid, "kty": "RSA", "use": "sig", "alg": "RS256"}
        return named | {"n": number(numbers.n), "e": number(numbers.e)} | other

    def sign(self, data: bytes) -> bytes:
        """Sign with RS256."""
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def public(self, encoding: Encoding) -> bytes:
        """Return the public key as PEM or DER."""
        return self.private.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


def claims(**changed: Any) -> Json:
    """Return claims like those of Keycloak's access token; None removes a claim.

    The token is valid for an hour, so that it does not expire during a long test run.
    """
    now = int(time.time())
    usual = {
        "exp": now + 3600,
        "iat": now,
        "jti": f"onrtro:{uuid.uuid4()}",
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "38eee1b1-d9bd-4cd8-b0f5-c72001cb0d81",
        "typ": "Bearer",
        "azp": "storefront",
        "realm_access": {"roles": ["customer"]},
        "scope": "email profile",
        "email_verified": True,
        "preferred_username": "alice",
        "email": "alice@example.com",
    }
    return {name: value for name, value in (usual | changed).items() if value is not None}


def claims_of(name: str, *roles: str, **changed: Any) -> Json:
    """Return the claims of `<name>@example.com` with these realm roles."""
    mine = {"sub": f"sub-of-{name}", "email": f"{name}@example.com", "preferred_username": name}
    return claims(**{**mine, "realm_access": {"roles": list(roles)}, **changed})


def token(
    key: SigningKey,
    payload: Json | bytes | None = None,
    *,
    header: Json | bytes | None = None,
    sign: Callable[[bytes], bytes] | None = None,
    **header_changes: Any,
) -> str:
    """Return a token: header, payload and signature, by default of the key."""
    if header is None:
        header = {"alg": "RS256", "typ": "JWT", "kid": key.kid} | header_changes
        header = {name: value for name, value in header.items() if value is not None}
    signed = f"{b64(header)}.{b64(claims() if payload is None else payload)}"
    return f"{signed}.{b64((sign or key.sign)(signed.encode()))}"


@dataclass
class StandIn:
    """The documents and the behaviour of the fake provider, which a test can change.

    Attributes:
        keys: the key set's entries.
        status: HTTP status of every response.
        discovery: changes to the discovery document.
        clock_ahead: seconds by which its Date header is ahead.
        fetches: number of requests for the key set.
    """

    keys: list[Json]
    status: int = 200
    discovery: Json = field(default_factory=dict)
    clock_ahead: float = 0.0
    fetches: int = 0
    _port: int = 0
    _server: asyncio.Server | None = None

    @property
    def issuer(self) -> str:
        """URL of the realm."""
        return f"http://127.0.0.1:{self._port}/realms/microservices"

    @property
    def jwks_url(self) -> str:
        """URL of the key set."""
        return f"{self.issuer}/protocol/openid-connect/certs"

    def publish(self, *keys: SigningKey) -> None:
        """Publish these keys only."""
        self.keys = [key.jwk() for key in keys]

    async def start(self) -> None:
        """Listen, after a stop on the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            body = self._document(head.split(b" ")[1].decode("latin-1"))
            lines = (
                f"HTTP/1.1 {self.status if body else 404} Stand-in",
                f"Date: {formatdate(time.time() + self.clock_ahead, usegmt=True)}",
                f"Content-Type: application/json\r\nContent-Length: {len(body)}",
                "Connection: close\r\n\r\n",
            )
            writer.write("\r\n".join(lines).encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the caller hung up
        finally:
            writer.close()

    def _document(self, path: str) -> bytes:
        if path.endswith("/protocol/openid-connect/certs"):
            self.fetches += 1
            return json.dumps({"keys": self.keys}).encode()
        if path.endswith("/.well-known/openid-configuration"):
            usual = {"issuer": self.issuer, "jwks_uri": self.jwks_url}
            return json.dumps(usual | self.discovery).encode()
        return b""


@asynccontextmanager
async def stand_in(*keys: SigningKey | Json) -> AsyncIterator[StandIn]:
    """Run a provider with these keys on a free port during the block."""
    provider = StandIn([key.jwk() if isinstance(key, SigningKey) else key for key in keys])
    await provider.start()
    try:
        yield provider
    finally:
        await provider.stop()
