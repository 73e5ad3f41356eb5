"""``make import`` against a gateway and an inventory-service of the test's own."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fleet.errors import FleetError
from fleet.tools.import_catalogue import Counts, Importer

HEADER = "sku,name,stock\n"


class Shop:
    """Stores rows by their SKU, as product-service does, and quantities by product.

    ``before`` and ``after`` may answer a request instead, or lose its answer.
    """

    def __init__(self) -> None:
        self.products: dict[str, str] = {}
        self.stock: dict[str, int] = {}
        self.calls: Counter[str] = Counter()
        self.tokens: set[str] = set()
        self.before: Callable[[httpx2.Request], httpx2.Response | None] = lambda _: None
        self.after: Callable[[httpx2.Request], None] = lambda _: None

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.calls[f"{request.method} {request.url.host}"] += 1
        if (answer := self.before(request)) is not None:
            return answer
        answer = self._answer(request)
        self.after(request)
        return answer

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "gateway":
            self.tokens.add(request.headers["Authorization"])
            return httpx2.Response(200, json=self._import(request.content.decode()))
        values = json.loads(request.content)
        if request.method == "POST":
            if values["product_id"] in self.stock:
                return httpx2.Response(409, json={})
            self.stock[values["product_id"]] = values["quantity"]
            return httpx2.Response(201, json={})
        product_id = request.url.path.rpartition("/")[2]
        if product_id not in self.stock:
            return httpx2.Response(404, json={})
        self.stock[product_id] = values["quantity"]
        return httpx2.Response(200, json={})

    def _import(self, content: str) -> dict[str, Any]:
        report: dict[str, Any] = {"created": 0, "changed": 0, "unchanged": 0}
        report |= {"rows": [], "refusals": []}
        reader = csv.reader(io.StringIO(content, newline=""))
        next(reader)
        line = reader.line_num + 1
        for sku, name, stock in reader:
            if name == "bad":
                refusal = {"line": line, "field": "name", "reason": "is bad"}
                report["refusals"].append(refusal)
            else:
                outcome = "unchanged" if self.products.get(sku) == name else "changed"
                outcome = "created" if sku not in self.products else outcome
                self.products[sku] = name
                report[outcome] += 1
                row = {"line": line, "product_id": f"id-{sku}", "name": name, "outcome": outcome}
                report["rows"].append(row | {"stock_quantity": int(stock) if stock else None})
            line = reader.line_num + 1
        return report


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def run(shop: Shop, path: Path, rows: int = 2) -> tuple[Counts, list[Any]]:
    importer = Importer(
        "http://gateway", "http://inventory", lambda: "t", httpx2.MockTransport(shop)
    )
    importer.pause_seconds = 0.001
    importer.limit.rows = rows
    refused: list[Any] = []
    return await importer.run(path, refused.append), refused


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.csv"
    path.write_text(HEADER + 'A,"a\n1",5\nB,b,\nC,bad,1\nD,d,0\nE,e,7\nA,twice,9\n')
    return path


async def test_rows_and_their_stock_are_sent_and_refusals_have_lines_of_the_file(
    shop: Shop, catalogue: Path
) -> None:
    counts, refused = await run(shop, catalogue)
    assert (counts.created, counts.refused, counts.stocks) == (4, 2, 3)
    assert shop.products.keys() == {"A", "B", "D", "E"}
    assert shop.stock == {"id-A": 5, "id-D": 0, "id-E": 7}
    assert sorted(refused) == [(5, "name", "is bad"), (8, "sku", "line 2 has the same id")]
    assert shop.tokens == {"Bearer t"}


async def test_repeated_import_creates_nothing_and_sets_the_same_stock(
    shop: Shop, catalogue: Path
) -> None:
    await run(shop, catalogue)
    shop.stock["id-A"] = 1
    counts, _ = await run(shop, catalogue)
    assert (counts.created, counts.changed, counts.unchanged) == (0, 0, 4)
    assert shop.stock["id-A"] == 5


async def test_stock_of_new_product_that_exists_already_is_set(shop: Shop, catalogue: Path) -> None:
    """After a request whose answer was lost."""
    shop.stock["id-A"] = 1
    await run(shop, catalogue)
    assert shop.stock["id-A"] == 5


async def test_stock_that_an_interrupted_import_has_not_set_is_set_by_the_next(
    shop: Shop, catalogue: Path
) -> None:
    await run(shop, catalogue)
    shop.stock.clear()
    await run(shop, catalogue)
    assert shop.stock == {"id-A": 5, "id-D": 0, "id-E": 7}


@pytest.mark.parametrize("host", ["gateway", "inventory"])
async def test_request_with_lost_answer_is_sent_again(
    shop: Shop, catalogue: Path, host: str
) -> None:
    lost: list[str] = []

    def lose(request: httpx2.Request) -> None:
        if request.url.host == host and len(lost) < 3:
            lost.append(request.method)
            raise httpx2.ReadError("connection reset", request=request)

    shop.after = lose
    counts, _ = await run(shop, catalogue)
    assert len(lost) == 3
    assert counts.created + counts.unchanged == 4
    assert shop.stock == {"id-A": 5, "id-D": 0, "id-E": 7}


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_busy_gateway_is_asked_again(shop: Shop, catalogue: Path, status: int) -> None:
    answers = [httpx2.Response(status, headers={"Retry-After": "0"}, json={})] * 3
    shop.before = lambda _: answers.pop() if answers else None
    counts, _ = await run(shop, catalogue)
    assert counts.created == 4


@pytest.mark.parametrize("status", [400, 401, 403, 413, 422, 500])
async def test_other_answer_ends_the_import_and_names_the_lines(
    shop: Shop, catalogue: Path, status: int
) -> None:
    shop.before = lambda _: httpx2.Response(status, text="no")
    with pytest.raises(FleetError, match=f"lines 2 to 4: status {status}: no"):
        await run(shop, catalogue)


async def test_dead_gateway_ends_the_import_after_some_attempts(
    shop: Shop, catalogue: Path
) -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response | None:
        raise httpx2.ConnectError("refused", request=request)

    shop.before = refuse
    with pytest.raises(FleetError, match="Repeat the import"):
        await run(shop, catalogue)
    assert shop.calls["POST gateway"] == 8


async def test_refused_stock_is_reported(shop: Shop, catalogue: Path) -> None:
    def reserved(request: httpx2.Request) -> httpx2.Response | None:
        is_stock = request.url.host == "inventory"
        return httpx2.Response(422, text="reserved") if is_stock else None

    shop.before = reserved
    counts, refused = await run(shop, catalogue)
    assert counts.stocks == 0
    assert (2, "stock", "status 422: reserved") in refused


async def test_same_product_in_two_parts_is_reported(shop: Shop, tmp_path: Path) -> None:
    """Shopify's rows are compared by the service alone."""
    path = tmp_path / "shopify.csv"
    path.write_text("Handle,Title,Variant Price\na,x,\nb,y,\na,z,\n")
    counts, refused = await run(shop, path, rows=1)
    assert refused == [(4, "external_id", "has replaced line 2, which has the same external id")]
    assert counts.refused == 1
