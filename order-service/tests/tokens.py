"""An identity provider for tests: one key, its key set over real HTTP, tokens by request."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk, jwt

ISSUER = "http://localhost:8081/realms/microservices"


class Provider:
    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.pem = self._key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        ).decode()
        self.jwks_url = ""

    def token(self, name: str, *roles: str, **changes: Any) -> str:
        """An access token of `<name>@example.com`; a change to None takes a claim away."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": "ecommerce-api",
            "sub": f"sub-of-{name}",
            "typ": "Bearer",
            "iat": now,
            "exp": now + 300,
            "azp": "storefront",
            "email": f"{name}@example.com",
            "email_verified": True,
            "realm_access": {"roles": list(roles)},
        } | changes
        present = {key: value for key, value in claims.items() if value is not None}
        return str(jwt.encode(present, self.pem, algorithm="RS256", headers={"kid": "k1"}))

    def _key_set(self) -> bytes:
        public = jwk.construct(self.pem, "RS256").public_key().to_dict()
        return json.dumps({"keys": [{**public, "kid": "k1", "use": "sig"}]}).encode()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["Provider"]:
        body = self._key_set()
        head = (
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head.encode() + body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self.jwks_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/certs"
        yield self
        server.close()
