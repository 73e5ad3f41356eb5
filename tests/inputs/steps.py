"""A case as data: steps with requests and expected responses.

Text in a step may name a value in braces: `{unique}`, which is new in every run, or one that an
earlier step kept. A row finds only its own products and orders, so it can run on a fleet that
holds those of other tests.
"""

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx2

from tests.fleet_under_test import GATEWAY, Shop, until
from tests.inputs.matching import Contains, Excludes, mismatch

PRODUCT, ORDER, INVENTORY = "product-service", "order-service", "inventory-service"
AI, NOTIFICATION = "ai-service", "notification-service"
MAX_ANSWER = 64 * 1024  # bytes of a refusal (promise 63)
PROBLEM = {"content-type": re.compile(r"^application/problem\+json")}
_NAME = re.compile(r"\{(\w+)\}")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) ")

Values = dict[str, Any]


class Step(Protocol):
    """One part of a case."""

    async def run(self, shop: Shop, values: Values) -> None:
        """Execute it; raise AssertionError where the expectation is not met."""


@dataclass(frozen=True)
class Case:
    """One test.

    Attributes:
        id: of the test; a reported input has the id that tests/README.md gives it.
        title: what is sent, in few words.
        steps: executed in order.
        local: only the fleet without Docker can run it, since only its mailbox has faults.
    """

    id: str
    title: str
    steps: Sequence[Step]
    local: bool = False

    async def run(self, shop: Shop) -> None:
        values: Values = {"unique": secrets.token_hex(5)}
        for step in self.steps:
            await step.run(shop, values)


@dataclass(frozen=True)
class Seeded:
    """Fill the catalogue with the demo's products; a second time changes nothing."""

    async def run(self, shop: Shop, values: Values) -> None:
        await shop.fleet.run("seed")


@dataclass(frozen=True)
class Request:
    """A request, and the answer that must come.

    Attributes:
        status: the expected status, or several that are right.
        body: JSON; bytes are sent as they are.
        at: the service that is called; the gateway unless set.
        user: whose access token is sent; none unless set.
        times: how many are sent at once; each must get the answer.
        within: seconds during which the request is repeated until its answer is right; for a
            service that polls the data of another service.
        answer, answer_headers: expectations, see matching.py; ABSENT: there is no such header.
        keep: names of values for later steps, each with its place in the answer: "products.0.id",
            or a header after a colon: ":etag".
    """

    method: str
    path: str
    status: int | Sequence[int] = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    at: str = GATEWAY
    user: str = ""
    times: int = 1
    within: float = 0.0
    answer: Any = None
    answer_headers: Mapping[str, Any] = field(default_factory=dict)
    keep: Mapping[str, str] = field(default_factory=dict)

    async def run(self, shop: Shop, values: Values) -> None:
        deadline = asyncio.get_running_loop().time() + self.within
        while True:
            try:
                return await self._run_once(shop, values)
            except AssertionError:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
            await asyncio.sleep(0.5)  # retry interval

    async def _run_once(self, shop: Shop, values: Values) -> None:
        requests = (self._send(shop, values) for _ in range(self.times))
        for answer in await asyncio.gather(*requests):
            self._check(answer, values)
        for name, place in self.keep.items():
            values[name] = _found(answer, place)

    async def _send(self, shop: Shop, values: Values) -> httpx2.Response:
        headers = {name: filled(value, values) for name, value in self.headers.items()}
        if self.user:
            token = await asyncio.to_thread(shop.fleet.identity.token, self.user)
            headers["Authorization"] = f"Bearer {token}"
        raw = isinstance(self.body, bytes)
        return await shop.http.request(
            self.method,
            shop.fleet.url(self.at) + filled(self.path, values),
            content=self.body if raw else None,
            json=None if raw else filled(self.body, values),
            headers=headers,
        )

    def _check(self, answer: httpx2.Response, values: Values) -> None:
        where = f"{self.method} {answer.request.url.path} at {self.at}"
        message = f"{where} answered {answer.status_code}: {answer.text[:500]}"
        right = (self.status,) if isinstance(self.status, int) else self.status
        assert answer.status_code in right, f"{message}\nexpected {self.status}"
        if answer.status_code >= 400:
            assert len(answer.content) <= MAX_ANSWER, f"{where}: {len(answer.content)} bytes"
        if self.answer is not None:
            wrong = mismatch(filled(self.answer, values), answer.json())
            assert not wrong, f"{where}: {wrong}"
        sent = {name: answer.headers.get(name) for name in self.answer_headers}
        wrong = mismatch(filled(dict(self.answer_headers), values), sent, "headers")
        assert not wrong, f"{where}: {wrong}"


@dataclass(frozen=True)
class OnTheWire:
    """Bytes that no HTTP client sends; each request must get exactly one response.

    Attributes:
        pieces: sent with a pause between each two, as separate packets.
        statuses: of the response, any of these. A plain request follows on the same connection.
    """

    pieces: Sequence[bytes]
    statuses: Sequence[int]
    at: str = GATEWAY
    user: str = ""
    pause: float = 0.1  # seconds between two pieces: a part of the input

    async def run(self, shop: Shop, values: Values) -> None:
        where = httpx2.URL(shop.fleet.url(self.at))
        token = await asyncio.to_thread(shop.fleet.identity.token, self.user) if self.user else ""
        reader, writer = await asyncio.open_connection(where.host, where.port)
        try:
            for piece in self.pieces:
                writer.write(piece.replace(b"{token}", token.encode()))
                await writer.drain()
                await asyncio.sleep(self.pause)
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            async with asyncio.timeout(15):
                received = await reader.read()
        finally:
            writer.close()
        answers = [int(status) for status in _STATUS_LINE.findall(received)]
        assert answers, f"no answer at {self.at}"
        assert answers[0] in self.statuses, received[:500]
        closed = answers[0] in (400, 426)  # then the request that follows gets no answer
        assert answers[1:] in ([200], [] if closed else [200]), f"{answers}: {received[:500]!r}"


@dataclass(frozen=True)
class MailServer:
    """Set the faults of the mailbox; they replace those of before."""

    faults: Sequence[Mapping[str, Any]]

    async def run(self, shop: Shop, values: Values) -> None:
        faults = [filled(dict(fault), values) for fault in self.faults]
        await asyncio.to_thread(shop.fleet.mailbox.set_faults, *faults)


@dataclass(frozen=True)
class Refused:
    """Wait until the mailbox has refused this number of commands."""

    times: int
    seconds: float = 30.0

    async def run(self, shop: Shop, values: Values) -> None:
        async def refused() -> bool:
            faults = await asyncio.to_thread(shop.fleet.mailbox.faults)
            return bool(sum(fault["hits"] for fault in faults) >= self.times)

        await until(refused, self.seconds, f"the mailbox refused {self.times} commands")


@dataclass(frozen=True)
class Confirmed:
    """Wait for `count` confirmation mails to an address, each of a different order."""

    to: str
    count: int
    seconds: float = 90.0

    async def run(self, shop: Shop, values: Values) -> None:
        address = filled(self.to, values)

        async def confirmations() -> list[str]:
            subjects = await shop.mails_of(address)
            return [subject for subject in subjects if subject.endswith(" is confirmed")]

        async def all_arrived() -> bool:
            return len(set(await confirmations())) == self.count

        await until(all_arrived, self.seconds, f"{self.count} confirmations to {address}")
        assert len(await confirmations()) == self.count


def filled(value: Any, values: Values) -> Any:
    """Return the value with each `{name}` in its texts replaced; unknown names stay as they are.

    A text that is one name becomes the value itself, so that a number stays a number.
    """
    if isinstance(value, str):
        if (whole := _NAME.fullmatch(value)) and whole[1] in values:
            return values[whole[1]]
        return _NAME.sub(lambda found: str(values.get(found[1], found[0])), value)
    if isinstance(value, dict):
        return {name: filled(member, values) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(filled(member, values) for member in value)
    if isinstance(value, Contains | Excludes):
        return type(value)(filled(value.part, values))
    return value


def _found(answer: httpx2.Response, place: str) -> Any:
    if place.startswith(":"):
        return answer.headers[place[1:]]
    value = answer.json()
    for part in place.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value
