"""The gateway served for real by its own uvicorn configuration, and raw sockets to talk to it."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import uvicorn
from prometheus_client.parser import text_string_to_metric_families

from app.__main__ import bind, server_config
from app.config import Settings
from app.main import create_app

SCRAPE_TOKEN = "scrape-token-of-tests"
SERVICE = Path(__file__).parent.parent


@dataclass(frozen=True)
class Reply:
    """One response as received."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name.lower()]

    def header(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name}: {values}"
        return values[0] if values else None

    def problem(self) -> dict[str, Any]:
        """Return the body as a problem document."""
        assert self.header("content-type") == "application/problem+json", self
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        assert {"type", "title", "status", "detail", "instance", "trace_id"} <= document.keys()
        return document


class Gateway:
    """A listening gateway."""

    connections: ClassVar[list[asyncio.StreamWriter]] = []
    """Connections to all gateways; closed when a test ends."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.connections.append(writer)
        return reader, writer

    async def raw(self, request: bytes, *, seconds: float = 10) -> bytes:
        """Send raw bytes; return all bytes received until the gateway closes the connection."""
        reader, writer = await self.connect()
        try:
            async with asyncio.timeout(seconds):
                with contextlib.suppress(ConnectionError):
                    writer.write(request)
                    await writer.drain()
                return await reader.read()
        finally:
            writer.close()

    async def ask(
        self,
        target: str | bytes,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | list[tuple[str, str]] | None = None,
        body: bytes | None = None,
        token: str | None = None,
    ) -> Reply:
        """Send one request with a raw target on a new connection; return its only response."""
        pairs = list(headers.items() if isinstance(headers, Mapping) else headers or [])
        names = {name.lower() for name, _ in pairs}
        if token is not None:
            pairs.append(("Authorization", f"Bearer {token}"))
        if body is not None and not {"content-length", "transfer-encoding"} & names:
            pairs.append(("Content-Length", str(len(body))))
        lines = "".join(f"{name}: {value}\r\n" for name, value in pairs).encode("latin-1")
        raw = target.encode("latin-1") if isinstance(target, str) else target
        first = b"%b %b HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n" % (method.encode(), raw)
        answer = await self.raw(first + lines + b"\r\n" + (body or b""))
        found = [r for r in replies(answer, head_only=method == "HEAD") if r.status >= 200]
        assert len(found) == 1, answer
        return found[0]

    def client(self, **options: Any) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(base_url=self.url, timeout=10, trust_env=False, **options)

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels."""
        answer = await self.ask("/metrics", token=SCRAPE_TOKEN)
        assert answer.status == 200
        return sum(
            sample.value
            for family in text_string_to_metric_families(answer.body.decode())
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def replies(raw: bytes, *, head_only: bool = False) -> list[Reply]:
    """Parse the responses of one connection; raise if the last is incomplete."""
    found = []
    while raw:
        head, separator, raw = raw.partition(b"\r\n\r\n")
        assert separator, f"incomplete head: {head!r}"
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        pairs = [(k.lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines)]
        named = dict(pairs)
        if head_only or status in (204, 304) or status < 200:
            body = b""
        elif named.get("transfer-encoding") == "chunked":
            body, raw = _chunks(raw)
        else:
            size = int(named["content-length"])
            body, raw = raw[:size], raw[size:]
            assert len(body) == size, "incomplete response"
        found.append(Reply(status, pairs, body))
    return found


def _chunks(raw: bytes) -> tuple[bytes, bytes]:
    parts = []
    while True:
        line, separator, raw = raw.partition(b"\r\n")
        assert separator, "incomplete response"
        size = int(line, 16)
        parts.append(raw[:size])
        assert raw[size : size + 2] == b"\r\n", "incomplete response"
        raw = raw[size + 2 :]
        if size == 0:
            return b"".join(parts), raw


@contextmanager
def serving(settings: Settings) -> Iterator[Gateway]:
    """Run the gateway in a thread of this process, on a free port."""
    config = server_config(settings, "127.0.0.1", 0, app=create_app(settings))
    listener = bind(config)
    port = listener.getsockname()[1]
    # An idle connection stays open for its keep-alive time (chassis.app.graceful_shutdown).
    config.timeout_keep_alive, config.timeout_graceful_shutdown = 1, 2
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="gateway", daemon=True)
    thread.start()
    wait_until(lambda: server.started or not thread.is_alive())
    assert server.started, "the gateway did not start"
    try:
        yield Gateway(port)
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive(), "the gateway did not stop"


@contextmanager
def gateway_process(port: int, **environment: str) -> Iterator[tuple[Gateway, int]]:
    """Run the gateway as `python -m app` in a process of its own; yield it and its pid."""
    command = [sys.executable, "-m", "app", "--port", str(port)]
    with subprocess.Popen(command, cwd=SERVICE, env={**os.environ, **environment}) as process:
        try:
            wait_until(lambda: process.poll() is not None or _listens(port), seconds=30)
            assert process.poll() is None, "the gateway did not start"
            yield Gateway(port), process.pid
        finally:
            process.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionError:
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Poll the condition; fail if it is not true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.005)  # the pause between two looks


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """`wait_until` that does not block the event loop."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.005)  # the pause between two looks
