"""Peers of the gateway in tests: a scripted upstream and an identity provider.

Both are real servers in threads of their own. A blocked event loop of the gateway or of the test
does not delay them.
"""

import asyncio
import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jose import jwk, jwt

ISSUER = "http://localhost:8081/realms/microservices"
_KEPT = 65_536

Headers = list[tuple[bytes, bytes]]


@contextmanager
def loop_in_a_thread(name: str) -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop in a thread until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=name, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass
class Seen:
    """One request as received; only the beginning of a large body is kept."""

    method: str
    target: bytes
    headers: Headers
    at: float
    body: bytes = b""
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    def header(self, name: str) -> str | None:
        """Return the only value of a header, or None without the header."""
        values = self.all(name)
        assert len(values) <= 1, f"{name}: {values}"
        return values[0] if values else None

    def add(self, part: bytes) -> None:
        self.size += len(part)
        self.digest.update(part)
        self.body += part[: max(0, _KEPT - len(self.body))]


class Wire:
    """The connection that a script answers on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer
        self.keep = True
        self.is_head = False  # whether the request is a HEAD: its answer has no body

    async def answer(
        self, status: int = 200, body: bytes = b"{}", headers: Headers | None = None
    ) -> None:
        """Send a complete response; add Content-Length and a JSON type unless given."""
        given = headers or []
        names = {name.lower() for name, _ in given}
        pairs = [*given]
        if b"content-length" not in names:
            pairs.append((b"Content-Length", b"%d" % len(body)))
        if b"content-type" not in names:
            pairs.append((b"Content-Type", b"application/json"))
        lines = [b"HTTP/1.1 %d Scripted" % status, *(n + b": " + v for n, v in pairs), b"", b""]
        await self.send(b"\r\n".join(lines) + (b"" if self.is_head else body))

    async def begin_chunks(self, content_type: bytes = b"text/event-stream") -> None:
        """Send the head of a chunked response."""
        await self.send(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: "
            + content_type
            + b"\r\n\r\n"
        )

    async def chunk(self, part: bytes) -> None:
        """Send one chunk; an empty chunk ends the response."""
        await self.send(b"%x\r\n%b\r\n" % (len(part), part))

    async def send(self, raw: bytes) -> None:
        self._writer.write(raw)
        await self._writer.drain()

    def drop(self) -> None:
        """Close the connection."""
        self.keep = False
        self._writer.close()

    async def until_gone(self) -> None:
        """Wait until the other side has closed the connection."""
        with contextlib.suppress(ConnectionError):
            await self.reader.read()
        self.keep = False


Script = Callable[[Seen, Wire], Awaitable[None]]


async def plain(seen: Seen, wire: Wire) -> None:
    """200 and an empty object."""
    await wire.answer()


async def hang(seen: Seen, wire: Wire) -> None:
    """Read the request and never respond."""
    await wire.until_gone()


async def drop(seen: Seen, wire: Wire) -> None:
    """Read the request, then close the connection without a response."""
    wire.drop()


def answering(status: int = 200, body: bytes = b"{}", headers: Headers | None = None) -> Script:
    """Return a script that sends this response to every request."""

    async def script(seen: Seen, wire: Wire) -> None:
        await wire.answer(status, body, headers)

    return script


def in_turn(*scripts: Script) -> Script:
    """Return a script that runs each script once, then repeats the last."""
    left = list(scripts)

    async def script(seen: Seen, wire: Wire) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(seen, wire)

    return script


class FakeUpstream:
    """A service that handles each request with the current script.

    Attributes:
        requests: received requests except `/health`; added before the body is read.
        reads_bodies: False leaves request bodies in the socket.
        complete: number of requests received with their complete body.
        busy: number of requests in progress.
    """

    def __init__(self) -> None:
        self.script: Script = plain
        self.reads_bodies = True
        self.requests: list[Seen] = []
        self.complete = 0
        self.busy = 0
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def reset(self) -> None:
        self.script = plain
        self.reads_bodies = True
        self.requests = []
        self.complete = 0

    @contextmanager
    def serve(self, port: int = 0) -> Iterator["FakeUpstream"]:
        with loop_in_a_thread("upstream") as loop:
            start = asyncio.start_server(self._serve, "127.0.0.1", port, backlog=1024)
            server = asyncio.run_coroutine_threadsafe(start, loop).result(10)
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self
            asyncio.run_coroutine_threadsafe(self._close(server), loop).result(10)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        wire = Wire(reader, writer)
        try:
            while wire.keep:
                await self._one(wire)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the gateway closed the connection, or the test has ended
        finally:
            writer.close()

    async def _one(self, wire: Wire) -> None:
        head = await wire.reader.readuntil(b"\r\n\r\n")
        first, *lines = head[:-4].split(b"\r\n")
        method, target, _ = first.split(b" ")
        pairs = [(k, v.strip()) for k, _, v in (line.partition(b":") for line in lines)]
        seen = Seen(method.decode(), target, pairs, time.monotonic())
        wire.is_head = method == b"HEAD"
        is_probe = target == b"/health"
        if not is_probe:
            self.requests.append(seen)
        if self.reads_bodies:
            await _read_body(wire.reader, seen)
        if not is_probe:
            self.complete += 1
        self.busy += 1
        try:
            await self.script(seen, wire)
        finally:
            self.busy -= 1


async def _read_body(reader: asyncio.StreamReader, seen: Seen) -> None:
    if seen.header("transfer-encoding") is None:
        left = int(seen.header("content-length") or 0)
        while left:
            part = await reader.read(min(left, _KEPT))
            if not part:
                raise ConnectionError("the body ended early")
            left -= len(part)
            seen.add(part)
        return
    while size := int(await reader.readline(), 16):
        seen.add((await reader.readexactly(size + 2))[:-2])
    await reader.readexactly(2)


class FakeProvider:
    """An issuer with one signing key, its key set served over HTTP."""

    def __init__(self) -> None:
        self.pem = self._new_pem()
        self.fetches = 0
        self._tokens: dict[tuple[str, tuple[str, ...]], tuple[int, str]] = {}
        self.jwks_url = ""

    def token(self, name: str = "alice", *roles: str, **changes: Any) -> str:
        """Return an access token of `<name>@example.com`; None in `changes` removes a claim."""
        now = int(time.time())
        known = self._tokens.get((name, roles))
        if not changes and known is not None and known[0] > now + 60:
            return known[1]
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
            "realm_access": {"roles": list(roles or ("customer",))},
        } | changes
        present = {key: value for key, value in claims.items() if value is not None}
        token = str(jwt.encode(present, self.pem, algorithm="RS256", headers={"kid": "k1"}))
        if not changes:
            self._tokens[name, roles] = (now + 300, token)
        return token

    @contextmanager
    def serve(self) -> Iterator["FakeProvider"]:
        upstream = FakeUpstream()
        upstream.script = self._answer
        with upstream.serve():
            self.jwks_url = f"{upstream.url}/certs"
            yield self

    async def _answer(self, seen: Seen, wire: Wire) -> None:
        self.fetches += 1
        public = jwk.construct(self.pem, "RS256").public_key().to_dict()
        keys = [{**public, "kid": "k1", "use": "sig"}]
        await wire.answer(body=json.dumps({"keys": keys}).encode())

    @staticmethod
    def _new_pem() -> str:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
