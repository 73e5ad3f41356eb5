"""Fakes of inventory-service and product-service over real HTTP, with injected faults.

They keep stock, movement keys and prices as the real services do. Tests replay the scripts of
contracts/http against the fakes and against the real services, so that they cannot diverge.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

Hook = Callable[[], Awaitable[None]]
Answer = tuple[int, dict[str, Any] | list[dict[str, Any]]]


def _problem(status: int, name: str, detail: str) -> Answer:
    return status, {"type": f"/problems/{name}", "status": status, "detail": detail}


@dataclass
class _StandIn:
    """A small HTTP server in the test's event loop.

    Attributes:
        hang: while True, no request gets a response.
        down: while True, each connection is closed after its first request.
    """

    calls: Counter[str] = field(default_factory=Counter)
    hang: bool = False
    down: bool = False
    url: str = ""

    async def _reply(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Any:
        """Return status and document (bytes are sent unchanged), or None to drop the connection."""
        raise NotImplementedError

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                request, *lines = head.strip().split("\r\n")
                method, target, _ = request.split(" ")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                while self.hang:
                    await asyncio.sleep(0.01)
                answer = None if self.down else await self._reply(method, target, headers, body)
                if answer is None:
                    break
                status, document = answer
                raw = isinstance(document, bytes)
                content = document if raw else json.dumps(document, default=float).encode()
                writer.write(
                    f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
                    f"content-length: {len(content)}\r\n\r\n".encode()
                    + content
                )
                await writer.drain()
        writer.close()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Self]:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self.hang = False
            server.close()


@dataclass
class FakeInventory(_StandIn):
    """inventory-service with stock in memory; attributes inject faults.

    Attributes:
        lose_replies: number of next reductions that run and get no response.
        late: while True, reductions are received and get no response; `run_late()` runs them.
        before_check, before_reduce_reply: awaited once at that moment, to run concurrent events.
    """

    stock: dict[str, int] = field(default_factory=dict)
    taken: dict[str, dict[str, int] | None] = field(default_factory=dict)
    lose_replies: int = 0
    late: bool = False
    before_check: Hook | None = None
    before_reduce_reply: Hook | None = None
    _late: list[tuple[str, dict[str, int]]] = field(default_factory=list)

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        parts = urlsplit(target)
        path = [unquote(part) for part in parts.path.split("/")[1:]]
        match (method, *path):
            case ("GET", "health"):
                return 200, {"status": "UP"}
            case ("GET", "api", "inventory", product, "check"):
                self.calls["check"] += 1
                return self._check(product, int(parse_qs(parts.query)["quantity"][0]))
            case ("PATCH", "api", "inventory", "reduce"):
                self.calls["reduce"] += 1
                return self.reduce(headers["idempotency-key"], _pieces(body))
            case ("POST", "api", "inventory", "movements", key, "reverse"):
                self.calls["reverse"] += 1
                return self._reverse(key)
        raise AssertionError(f"order-service is not known to call {method} {target}")

    def _check(self, product: str, quantity: int) -> Answer:
        if product not in self.stock:
            return _problem(404, "unknown-product", f"There is no product {product}.")
        available = self.stock[product]
        return 200, {
            "product_id": product,
            "requested": quantity,
            "in_stock": available >= quantity,
            "available_qty": available,
        }

    def reduce(self, key: str, pieces: dict[str, int]) -> Answer:
        if key in self.taken:
            if (before := self.taken[key]) is None:
                return _problem(409, "movement-reversed", "This movement was reversed.")
            return 200, [self._item(product) for product in before]
        for product in pieces:
            if product not in self.stock:
                return _problem(404, "unknown-product", f"There is no product {product}.")
        short = [product for product, count in pieces.items() if self.stock[product] < count]
        if short:
            return _problem(400, "insufficient-stock", f"Insufficient stock of {short}")
        for product, count in pieces.items():
            self.stock[product] -= count
        self.taken[key] = pieces
        return 200, [self._item(product) for product in pieces]

    def _item(self, product: str) -> dict[str, Any]:
        return {"product_id": product, "available_qty": self.stock[product]}

    def _reverse(self, key: str) -> Answer:
        pieces = self.taken.get(key) or {}
        self.taken[key] = None
        for product, count in pieces.items():
            self.stock[product] += count
        return 200, {"returned": [{"product_id": p, "quantity": c} for p, c in pieces.items()]}

    def run_late(self) -> list[Answer]:
        """Run the delayed reductions."""
        late, self._late = self._late, []
        return [self.reduce(key, pieces) for key, pieces in late]

    async def _reply(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Any:
        reducing = method == "PATCH"
        if reducing and self.late:
            self._late.append((headers["idempotency-key"], _pieces(body)))
            return None
        if "/check" in target and (hook := self.before_check) is not None:
            self.before_check = None
            await hook()
        answer = self.answer(method, target, headers, body)
        if reducing and (hook := self.before_reduce_reply) is not None:
            self.before_reduce_reply = None
            await hook()
        if reducing and self.lose_replies > 0:
            self.lose_replies -= 1
            return None
        return answer


def _pieces(body: bytes) -> dict[str, int]:
    return {item["product_id"]: item["quantity"] for item in json.loads(body)["items"]}


@dataclass
class FakeCatalogue(_StandIn):
    """product-service's prices; a product without an entry is unknown.

    Attributes:
        prices: by product; None for a deleted product.
        names: by product; the default is "Product <id>".
        answer: status and body that replace the response to every lookup.
        before_answer: awaited once after a lookup arrived, to run concurrent events.
        before_sending: awaited once after a response was built, before it is sent.
        chokes_on: a lookup with this product returns 500.
    """

    prices: dict[str, Decimal | None] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    answer: tuple[int, bytes] | None = None
    before_answer: Hook | None = None
    before_sending: Hook | None = None
    chokes_on: str = ""

    async def _reply(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Any:
        if (method, target) == ("GET", "/health"):
            return 200, {"status": "UP"}
        if (method, target) != ("POST", "/api/products/prices"):
            raise AssertionError(f"order-service is not known to call {method} {target}")
        self.calls["prices"] += 1
        if (hook := self.before_answer) is not None:
            self.before_answer = None
            await hook()
        asked = json.loads(body)["product_ids"]
        if self.chokes_on in asked:
            return _problem(500, "internal", "Something went wrong.")
        answer = self.answer or (200, {"prices": [self._listing(product) for product in asked]})
        if (hook := self.before_sending) is not None:
            self.before_sending = None
            await hook()
        return answer

    def _listing(self, product: str) -> dict[str, Any]:
        price = self.prices.get(product)
        state = "unknown" if product not in self.prices else "listed" if price else "deleted"
        name = self.names.get(product, f"Product {product}") if price else None
        return {"product_id": product, "state": state, "price": price, "name": name}


class PostgresProxy:
    """Proxy between the app and PostgreSQL that can drop the reply to a confirmation.

    Attributes:
        drop_next_confirmation: the next order is confirmed and committed; the proxy drops the
            reply and closes the connection.
        refuse_after_drop: after that every connection is closed at once, as if the server were
            stopped.
    """

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        assert parts.hostname is not None
        self._target = (parts.hostname, parts.port or 5432)
        self._url = parts
        self.url = ""
        self.drop_next_confirmation = False
        self.refuse_after_drop = False
        self.dropped = 0
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> "PostgresProxy":
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        login = self._url.netloc.rpartition("@")[0]
        self.url = urlunsplit(self._url._replace(netloc=f"{login}@127.0.0.1:{port}"))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._cut_all()

    def _cut_all(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse_after_drop and self.dropped:
            writer.close()
            return
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, upstream_writer}
        cut = asyncio.Event()
        await asyncio.gather(
            self._to_server(reader, upstream_writer, cut),
            self._to_client(upstream_reader, writer, cut),
        )

    async def _to_server(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if self.drop_next_confirmation and b"ORDER_PLACED" in data:
                    self.drop_next_confirmation = False
                    cut.set()
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _to_client(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                if cut.is_set():  # the reply to the commit
                    self.dropped += 1
                    if self.refuse_after_drop:
                        self._cut_all()
                    break
                writer.write(data)
                await writer.drain()
        writer.close()
