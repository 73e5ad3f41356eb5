"""Fakes over real HTTP: product-service's product list, and Groq with injectable faults."""

import asyncio
import contextlib
import copy
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

Row = dict[str, Any]


class HttpStandIn:
    """A small HTTP/1.1 server; subclasses implement the responses."""

    def __init__(self) -> None:
        self.url = ""
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def respond(
        self, method: str, target: str, body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        """Write a response. Return False to close the connection."""
        raise NotImplementedError

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        gone = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*gone):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                request, *lines = head.strip().split("\r\n")
                method, target, _ = request.split(" ")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self.respond(method, target, body, writer):
                    break
        self._open.discard(writer)
        writer.close()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()
            for writer in list(self._open):
                writer.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


async def send(
    writer: asyncio.StreamWriter,
    status: int,
    content: bytes,
    kind: str = "application/json",
    **headers: str,
) -> bool:
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    writer.write(
        f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{more}"
        f"content-length: {len(content)}\r\n\r\n".encode()
        + content
    )
    await writer.drain()
    return True


class FakeCatalogue(HttpStandIn):
    """Fake of product-service's product list and list of changes.

    Attributes:
        down: close each connection after its first request.
        lists_changes: False for a release without the list of changes.
        before_page: called with the page number before each response.
    """

    def __init__(self, rows: list[Row]) -> None:
        super().__init__()
        self.rows = rows
        self.down = False
        self.broken = False
        self.lists_changes = True
        self.pages: Counter[int] = Counter()
        self._seen: list[dict[str, Row]] = []  # the products at each cursor
        self.before_page: Callable[[int], None] | None = None

    async def respond(
        self, method: str, target: str, body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        if self.down:
            return False
        if self.broken:
            return await send(writer, 200, b'{"products": "none"}')
        if target == "/health":
            return await send(writer, 200, b'{"status": "UP"}')
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/api/products/changes":
            return await self._send_changes(query["after"], writer)
        assert (method, parts.path) == ("GET", "/api/products"), target
        number, size = int(query["page"]), int(query["page_size"])
        assert query["sort"] == "created_at"
        assert size <= 100
        self.pages[number] += 1
        if self.before_page is not None:
            self.before_page(number)
        page = {
            "products": self.rows[(number - 1) * size : number * size],
            "total": len(self.rows),
            "page": number,
            "page_size": size,
        }
        return await send(writer, 200, json.dumps(page).encode())

    async def _send_changes(self, after: str, writer: asyncio.StreamWriter) -> bool:
        """Compare the products with those at the cursor; two changes a page."""
        if not self.lists_changes:  # a release that takes "changes" for a product id
            return await send(writer, 400, b"{}")
        now = {row["id"]: copy.deepcopy(row) for row in self.rows}
        before = now if after == "now" else self._seen[int(after)]
        rows: dict[str, Row | None] = {
            one: row for one, row in now.items() if before.get(one) != row
        }
        rows |= dict.fromkeys(before.keys() - now.keys())
        page = dict(list(rows.items())[:2])
        seen = {one: row for one, row in {**before, **page}.items() if row is not None}
        self._seen.append(seen)
        answer = {
            "changes": [{"product_id": one, "product": row} for one, row in page.items()],
            "cursor": str(len(self._seen) - 1),
            "complete": len(page) == len(rows),
        }
        return await send(writer, 200, json.dumps(answer).encode())


@dataclass
class Call:
    """A request received by the fake Groq."""

    path: str
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        return json.dumps(self.body["messages"], ensure_ascii=False)

    @property
    def model(self) -> str:
        return str(self.body["model"])


def _open_gate() -> asyncio.Event:
    gate = asyncio.Event()
    gate.set()
    return gate


@dataclass
class Script:
    """Behaviour of the fake Groq.

    Attributes:
        mode: `answer`, `limit` (429), `error` (500), `garbage`, `html`, `empty`, `gone` (404),
            `decommissioned` (400), `refused` (401), `hang`, `hang_midway`, `drop`, `break_midway`.
        text: the answer, or a function of the request that returns it.
        gone: models that do not exist, in every mode.
        delay: seconds before each chunk.
        gate: responses wait until it is set.
    """

    mode: str = "answer"
    text: str | Callable[[Call], str] = "I would take [P1]."
    gone: frozenset[str] = frozenset()
    retry_after: str = "1"
    delay: float = 0.0
    gate: asyncio.Event = field(default_factory=_open_gate)
    finish: str = "stop"
    failures: int | None = None  # number of failures before `answer`


class FakeGroq(HttpStandIn):
    """Fake of Groq's streamed chat completions."""

    def __init__(self) -> None:
        super().__init__()
        self.script = Script()
        self.calls: list[Call] = []
        self.at_once = 0
        self.most_at_once = 0
        self.left: int = 0
        self.arrived = asyncio.Event()

    async def respond(
        self, method: str, target: str, body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        assert method == "POST", target
        call = Call(target, json.loads(body))
        assert call.path.endswith("/chat/completions"), target
        self.calls.append(call)
        self.arrived.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._play(call, writer)
        except ConnectionError:
            self.left += 1
            raise
        finally:
            self.at_once -= 1

    async def _play(self, call: Call, writer: asyncio.StreamWriter) -> bool:
        script, mode = self.script, self.script.mode
        await script.gate.wait()
        if script.failures is not None and mode != "answer":
            script.failures -= 1
            if script.failures < 0:
                mode = "answer"
        if call.model in script.gone:
            mode = "gone"
        refusals = {
            "limit": (429, "rate_limit_exceeded"),
            "error": (500, "internal_server_error"),
            "gone": (404, "model_not_found"),
            "decommissioned": (400, "model_decommissioned"),
            "refused": (401, "invalid_api_key"),
        }
        if mode in refusals:
            status, code = refusals[mode]
            more = {"retry_after": script.retry_after} if status == 429 else {}
            content = json.dumps({"error": {"message": "no", "code": code}}).encode()
            return await send(writer, status, content, **more)
        if mode == "drop":
            return False
        if mode == "html":
            return await send(writer, 200, b"<html>Bad gateway</html>", "text/html")
        if mode == "hang":
            await self._until_the_client_leaves(writer)
            return False
        return await self._stream(call, mode, writer)

    async def _stream(self, call: Call, mode: str, writer: asyncio.StreamWriter) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        text = self.script.text if isinstance(self.script.text, str) else self.script.text(call)
        words = [] if mode == "empty" else [word + " " for word in text.split(" ")]
        words[-1:] = [word.rstrip() for word in words[-1:]]
        for number, word in enumerate(words):
            if number == len(words) // 2 and mode == "hang_midway":
                await self._until_the_client_leaves(writer)
                return False
            if number == len(words) // 2 and mode == "break_midway":
                return False
            if self.script.delay:
                await asyncio.sleep(self.script.delay)
            data = b"{not json" if mode == "garbage" else _chunk(call.model, word, None)
            await _write_event(writer, data)
        await _write_event(writer, _chunk(call.model, "", self.script.finish))
        await _write_event(writer, b"[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _until_the_client_leaves(self, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            await asyncio.sleep(0.01)
            if writer.transport.is_closing():
                break
            reader = getattr(writer, "_reader", None)
            if reader is not None and reader.at_eof():
                self.left += 1
                return


def _chunk(model: str, text: str, finish: str | None) -> bytes:
    delta = {"content": text} if text else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [choice],
    }
    return json.dumps(chunk).encode()


async def _write_event(writer: asyncio.StreamWriter, data: bytes) -> None:
    event = b"data: " + data + b"\n\n"
    writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
    await writer.drain()


@dataclass
class FakeProducer:
    """Record sent events."""

    records: list[tuple[str, str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    error: Exception | None = None

    async def send(self, topic: str, key: str, value: bytes, headers: dict[str, str]) -> None:
        if self.error is not None:
            raise self.error
        self.records.append((topic, key, json.loads(value), headers))
