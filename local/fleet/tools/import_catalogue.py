"""``make import`` and ``make export``: a catalogue file through the gateway, and its stock.

An import is idempotent: rows are found again by their external id, and a stock is set to the count
that the file has. Repeat it after an interruption.
"""

from __future__ import annotations

import asyncio
import csv
import random
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleet.errors import FleetError
from fleet.launcher.composition import Fleet
from fleet.processes.program import run_async
from fleet.terminal import say
from fleet.tools.catalogue_parts import PART_ROWS, Duplicate, Limit, Part, parts_of

if TYPE_CHECKING:
    import httpx2

ADMIN = "admin"
_ATTEMPTS = 8
_MIN_ROWS = 20
_PART_SECONDS = 3.0  # aim; the gateway waits 10 seconds for an answer
_STOCKS_AT_ONCE = 8
_AGAIN = {429, 502, 503, 504}
_SAY_EVERY = 5.0  # seconds, where the output is no terminal


@dataclass
class Counts:
    """Rows so far."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0
    refused: int = 0
    stocks: int = 0
    began: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        """Describe the progress in one line."""
        rows = self.created + self.changed + self.unchanged + self.refused
        rate = rows / max(time.monotonic() - self.began, 0.001)
        return (
            f"{rows:,} rows, {rate:,.0f} a second: {self.created:,} created, "
            f"{self.changed:,} changed, {self.unchanged:,} unchanged, {self.refused:,} refused, "
            f"stock of {self.stocks:,} set"
        )


def run(fleet: Fleet, command: str, path: Path) -> int:
    """Import or export a file; return the exit status."""
    if command == "import":
        return import_catalogue(fleet, path)
    export_catalogue(fleet, path)
    return 0


def import_catalogue(fleet: Fleet, path: Path) -> int:
    """Import a file; return the exit status: 1 if a row was refused.

    The refused rows are written to ``<file>.refused.csv``.
    """
    if not path.is_file():
        raise FleetError(f"There is no file {path}. Give one: make import FILE=catalogue.csv")
    gateway, inventory = fleet.service("api-gateway").url, fleet.service("inventory-service").url
    report = path.with_name(f"{path.name}.refused.csv")
    importer = Importer(gateway, inventory, lambda: fleet.identity.token(ADMIN))
    counts = run_async(_run(importer, path, report))
    if not counts.refused:
        report.unlink(missing_ok=True)
        return 0
    say(f"The refused rows are in {report}")
    return 1


async def _run(importer: Importer, path: Path, report: Path) -> Counts:
    with report.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("line", "field", "reason"))
        return await importer.run(path, writer.writerow)


class Importer:
    """Sends the parts of a file, one after the other, and the stock of their rows.

    ``token`` returns an access token of an admin. ``transport`` replaces the network.
    """

    def __init__(self, gateway: str, inventory: str, token: Any, transport: Any = None) -> None:
        """Take the addresses of the gateway and of inventory-service."""
        self._gateway = gateway
        self._inventory = inventory
        self._token = token
        self._transport = transport
        self.pause_seconds = 0.5
        self.counts = Counts()
        self.limit = Limit()

    async def run(self, path: Path, refuse: Any) -> Counts:
        """Import a file. Calls ``refuse`` with line, field and reason of each refused row."""
        import httpx2

        products: dict[str, int] = {}
        options = {"timeout": 60.0, "trust_env": False, "transport": self._transport}
        async with httpx2.AsyncClient(**options) as client:
            with _progress(self.counts) as show:
                for part in parts_of(path, self.limit):
                    if isinstance(part, Duplicate):
                        self._refuse(
                            refuse, part.line, part.column, f"line {part.first} has the same id"
                        )
                    else:
                        await self._import(client, part, products, refuse)
                    show()
        return self.counts

    async def _import(
        self, client: httpx2.AsyncClient, part: Part, products: dict[str, int], refuse: Any
    ) -> None:
        began = time.monotonic()
        report = await self._send(client, part)
        seconds = time.monotonic() - began
        wanted = round(self.limit.rows * _PART_SECONDS / max(seconds, 0.01))
        self.limit.rows = min(PART_ROWS, max(_MIN_ROWS, wanted))
        for name in ("created", "changed", "unchanged"):
            setattr(self.counts, name, getattr(self.counts, name) + report[name])
        for refused in report["refusals"]:
            line = part.lines.get(refused["line"], refused["line"])
            self._refuse(refuse, line, refused["field"], refused["reason"])
        for row in report["rows"]:
            line = part.lines[row["line"]]
            first = products.setdefault(row["product_id"], line)
            if first != line:
                reason = f"has replaced line {first}, which has the same external id"
                self._refuse(refuse, line, "external_id", reason)
        await self._set_stocks(client, part, report["rows"], refuse)

    def _refuse(self, refuse: Any, line: int, column: str | None, reason: str) -> None:
        self.counts.refused += 1
        refuse((line, column or "", reason))

    async def _send(self, client: httpx2.AsyncClient, part: Part) -> dict[str, Any]:
        token = await asyncio.to_thread(self._token)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": part.content_type}
        url = f"{self._gateway}/api/products/import"
        answer = await self._again(client, "POST", url, content=part.content, headers=headers)
        if answer.status_code != 200:
            where = f"lines {min(part.lines.values())} to {max(part.lines.values())}"
            raise FleetError(f"{where}: status {answer.status_code}: {answer.text[:500]}")
        report: dict[str, Any] = answer.json()
        return report

    async def _again(
        self, client: httpx2.AsyncClient, method: str, url: str, **request: Any
    ) -> httpx2.Response:
        """Send a request, and send it again if its answer is lost or says to wait.

        Only for requests that may be repeated.
        """
        import httpx2

        for attempt in range(_ATTEMPTS):
            pause = min(30.0, self.pause_seconds * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
            try:
                answer = await client.request(method, url, **request)
            except httpx2.TransportError as error:
                last = f"{method} {url}: {type(error).__name__} {error}".rstrip()
            else:
                if answer.status_code not in _AGAIN:
                    return answer
                last = f"{method} {url} answered {answer.status_code}: {answer.text[:200]}"
                after = answer.headers.get("Retry-After", "")
                pause = max(pause, float(after)) if after.isdecimal() else pause
            if attempt < _ATTEMPTS - 1:
                await asyncio.sleep(pause)
        raise FleetError(
            f"{last}. Rows so far: {self.counts}. Repeat the import to go on; see: make status"
        )

    async def _set_stocks(
        self,
        client: httpx2.AsyncClient,
        part: Part,
        rows: list[Mapping[str, Any]],
        refuse: Any,
    ) -> None:
        gate = asyncio.Semaphore(_STOCKS_AT_ONCE)

        async def set_stock(row: Mapping[str, Any]) -> None:
            async with gate:
                answer = await self._set_stock(client, row)
            if answer.status_code in (200, 201):
                self.counts.stocks += 1
            else:
                reason = f"status {answer.status_code}: {answer.text[:150]}"
                self._refuse(refuse, part.lines[row["line"]], "stock", reason)

        with_stock = [row for row in rows if row["stock_quantity"] is not None]
        await asyncio.gather(*map(set_stock, with_stock))

    async def _set_stock(
        self, client: httpx2.AsyncClient, row: Mapping[str, Any]
    ) -> httpx2.Response:
        """Create the item of a product or set its quantity; the count of the file in any case."""
        items = f"{self._inventory}/api/inventory"
        values = {"product_name": row["name"], "quantity": row["stock_quantity"]}
        new = {"product_id": row["product_id"], **values}
        if row["outcome"] == "created":
            answer = await self._again(client, "POST", items, json=new)
            if answer.status_code != 409:
                return answer
        answer = await self._again(client, "PUT", f"{items}/{row['product_id']}", json=values)
        if answer.status_code == 404:
            answer = await self._again(client, "POST", items, json=new)
        return answer


@contextmanager
def _progress(counts: Counts) -> Iterator[Any]:
    """Show the counts in one line of the terminal, or as a line every five seconds."""
    shown = time.monotonic()

    def show() -> None:
        nonlocal shown
        if sys.stdout.isatty():
            print(f"\r\033[K{counts}", end="", flush=True)
        elif time.monotonic() - shown >= _SAY_EVERY:
            shown = time.monotonic()
            say(str(counts))

    try:
        yield show
    finally:
        say(f"\r\033[K{counts}" if sys.stdout.isatty() else str(counts))


def export_catalogue(fleet: Fleet, path: Path) -> None:
    """Write all products to a file as NDJSON. The file is replaced when it is complete."""
    import httpx2

    url = f"{fleet.service('api-gateway').url}/api/products/export"
    headers = {"Authorization": f"Bearer {fleet.identity.token(ADMIN)}"}
    partial = path.with_name(f"{path.name}.part")
    number = 0
    try:
        with (
            httpx2.Client(timeout=60, trust_env=False) as client,
            client.stream("GET", url, headers=headers) as answer,
            partial.open("wb") as file,
        ):
            if answer.status_code != 200:
                raise FleetError(f"GET {url} answered {answer.status_code}.")
            for piece in answer.iter_bytes():
                file.write(piece)
                number += piece.count(b"\n")
        partial.replace(path)
    except httpx2.TransportError as error:
        raise FleetError(f"The export broke off ({error}). See: make status") from error
    finally:
        partial.unlink(missing_ok=True)
    say(f"{number:,} products in {path}")
