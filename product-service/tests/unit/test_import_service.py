"""Imports on the in-memory repository."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from fastapi.exceptions import RequestValidationError

from app.catalogue_files.readers import CSV, JSON, MAX_ROWS, NDJSON, RowReader
from app.errors import CatalogueUnavailable, FileTooLarge
from app.models.product import Product, now
from app.models.search_query import SearchQuery
from app.search.index import SearchIndex
from app.services.import_service import MAX_REFUSALS, ImportReport, ImportService
from tests.fakes import FakeProductRepository

CATALOGUES = Path(__file__).parents[1] / "catalogues"
HEADER = "sku,name,price,category,stock\n"

Change = Callable[[], Any]


async def indexed() -> None:
    """Stand for created indexes."""


class Shop:
    """An import service with its repository and search index."""

    def __init__(self, repository: FakeProductRepository, currency: str = "USD") -> None:
        self.repository = repository
        self.index = SearchIndex()
        self.service = ImportService(repository, self.index, currency, indexed)

    async def run(self, content: str | bytes, media_type: str = CSV) -> ImportReport:
        return await self.service.run(media_type, parts(content))

    async def products(self) -> dict[str | None, Product]:
        every = await self.repository.following(None, 100_000)
        return {one.external_id: one for one in every}

    async def export(self) -> bytes:
        return b"".join([part async for part in await self.service.export()])


@pytest.fixture
def shop() -> Shop:
    return Shop(FakeProductRepository())


async def parts(content: str | bytes) -> AsyncIterator[bytes]:
    data = content.encode() if isinstance(content, str) else content
    for start in range(0, len(data), 1_000):
        await asyncio.sleep(0)
        yield data[start : start + 1_000]


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.created, report.changed, report.unchanged, report.refused


async def test_row_creates_then_leaves_then_changes_a_product(shop: Shop) -> None:
    assert counts(await shop.run(HEADER + "L-1,Lamp,12.5,Home,3\n")) == (1, 0, 0, 0)
    first = (await shop.products())["L-1"]
    assert counts(await shop.run(HEADER + "L-1,Lamp,12.50,Home,3\n")) == (0, 0, 1, 0)
    assert (await shop.products())["L-1"] == first
    assert counts(await shop.run(HEADER + "L-1,Big lamp,12.50,Home,3\n")) == (0, 1, 0, 0)
    changed = (await shop.products())["L-1"]
    assert (changed.id, changed.name, changed.revision) == (first.id, "Big lamp", 2)
    found = shop.index.search(SearchQuery.parse("big"))
    assert found.product_ids == [first.id]


async def test_report_has_line_product_and_stock_of_each_row(shop: Shop) -> None:
    report = await shop.run(HEADER + 'L-1,"a\nb",1,Home,3\n\nL-2,c,1,Home,\n')
    stored = await shop.products()
    assert [
        (row.line, row.product_id, row.name, row.outcome, row.stock_quantity) for row in report.rows
    ] == [
        (2, str(stored["L-1"].id), "a b", "created", 3),
        (5, str(stored["L-2"].id), "c", "created", None),
    ]


async def test_fields_that_the_file_does_not_have_are_kept(shop: Shop) -> None:
    await shop.run('[{"sku":"L","name":"a","price":1,"category":"c","tags":["t"],"stock":9}]', JSON)
    report = await shop.run("sku,name,price,category,stock\nL,b,1,c,\n")
    assert counts(report) == (0, 1, 0, 0)
    stored = (await shop.products())["L"]
    assert (stored.name, stored.tags, stored.stock_quantity) == ("b", ["t"], 9)
    await shop.run("sku,name,price,category,tags,description\nL,b,1,c,,\n")
    assert (await shop.products())["L"].tags == []


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (",a,1,c,1", "sku", "is missing"),
        ("L,,1,c,1", "name", "at least 1 character"),
        ("L,\u200b,1,c,1", "name", "no visible character"),
        ("L,a\x00b,1,c,1", "name", "control characters"),
        (f"L,{'x' * 201},1,c,1", "name", "at most 200 characters"),
        (f"L,{'x' * 60_000},1,c,1", "name", "more than 50,000 characters"),
        (f"{'x' * 101},a,1,c,1", "sku", "at most 100 characters"),
        ("L,a,,c,1", "price", "is missing"),
        ("L,a,free,c,1", "price", "is not a price"),
        ("L,a,0,c,1", "price", "greater than 0"),
        ("L,a,-5,c,1", "price", "greater than 0"),
        ("L,a,1.999,c,1", "price", "no more than 2 decimal places"),
        ("L,a,99999999999,c,1", "price", "no more than 10 digits"),
        ("L,a,€ 5,c,1", "price", "is in €, but the shop's currency is USD"),
        ("L,a,1,,1", "category", "at least 1 character"),
        ("L,a,1,c,-1", "stock", "greater than or equal to 0"),
        ("L,a,1,c,1.5", "stock", "is not a whole number"),
        ("L,a,1,c,9999999999999", "stock", "less than or equal to"),
    ],
)
async def test_row_that_breaks_a_rule_is_refused_with_field_and_reason(
    shop: Shop, row: str, field: str, reason: str
) -> None:
    report = await shop.run(f"{HEADER}A,a,1,c,1\n{row}\nB,b,1,c,1\n")
    assert counts(report) == (2, 0, 0, 1)
    (refused,) = report.refusals
    assert (refused.line, refused.field) == (3, field)
    assert reason in refused.reason
    assert len(refused.reason) <= 200
    assert (await shop.products()).keys() == {"A", "B"}


async def test_bytes_that_are_not_utf_8_refuse_only_their_row(shop: Shop) -> None:
    report = await shop.run(HEADER.encode() + b"A,Caf\xe9,1,c,1\nB,b,1,c,1\n")
    assert counts(report) == (1, 0, 0, 1)
    assert (report.refusals[0].line, report.refusals[0].field) == (2, "name")
    assert "not valid UTF-8" in report.refusals[0].reason


async def test_currency_column_of_another_currency_is_refused(shop: Shop) -> None:
    report = await shop.run("sku,name,price,category,currency\nA,a,1,c,usd\nB,b,1,c,EUR\n")
    assert counts(report) == (1, 0, 0, 1)
    assert report.refusals[0].field == "currency"


async def test_row_of_a_repeated_external_id_is_refused(shop: Shop) -> None:
    report = await shop.run(HEADER + "A,a,1,c,1\nB,b,1,c,1\nA,other,1,c,1\n")
    assert counts(report) == (2, 0, 0, 1)
    assert report.refusals[0].reason == "line 2 has the same external id"
    assert (await shop.products())["A"].name == "a"


@pytest.mark.parametrize("value", [{"$ne": ""}, ["a"], True, 1.5, 10**300, "", None, "\ud800"])
@pytest.mark.parametrize(
    "field", ["sku", "name", "price", "category", "tags", "image", "stock", "currency"]
)
async def test_json_value_of_another_type_is_never_an_error(
    shop: Shop, field: str, value: object
) -> None:
    row = {"sku": "A", "name": "a", "price": 1, "category": "c", field: value}
    for media_type, text in ((JSON, json.dumps([row])), (NDJSON, json.dumps(row))):
        report = await shop.run(text, media_type)
        assert sum(counts(report)) == 1


async def test_refusals_are_bounded(shop: Shop) -> None:
    report = await shop.run(HEADER + ",,,,\nx,,,,\n" * 2_000)
    assert report.refused == 2_000
    assert len(report.refusals) == MAX_REFUSALS


async def test_file_with_too_many_rows_imports_nothing(shop: Shop) -> None:
    rows = "".join(f"L-{number},a,1,c,1\n" for number in range(MAX_ROWS + 1))
    with pytest.raises(FileTooLarge):
        await shop.run(HEADER + rows)
    assert await shop.products() == {}


async def test_unreadable_file_imports_nothing(shop: Shop) -> None:
    row = '{"sku":"A","name":"a","price":1,"category":"c"}'
    with pytest.raises(RequestValidationError):
        await shop.run(f"[{row},{row}", JSON)
    assert await shop.products() == {}


async def test_import_before_unique_index_exists_is_refused() -> None:
    async def not_indexed() -> None:
        raise RuntimeError

    service = ImportService(FakeProductRepository(), SearchIndex(), "USD", not_indexed)
    with pytest.raises(CatalogueUnavailable):
        await service.run(CSV, parts(HEADER + "A,a,1,c,1\n"))


async def test_columns_without_meaning_are_named(shop: Shop) -> None:
    report = await shop.run("sku,name,price,category,colour\nA,a,1,c,red\n")
    assert report.ignored_columns == ["colour"]


async def test_external_id_of_deleted_product_creates_a_new_one(shop: Shop) -> None:
    await shop.run(HEADER + "A,a,1,c,1\n")
    deleted = (await shop.products())["A"]
    await shop.repository.remove(deleted, now())
    assert counts(await shop.run(HEADER + "A,a,1,c,1\n")) == (1, 0, 0, 0)
    assert (await shop.products())["A"].id != deleted.id


class Overtaken(FakeProductRepository):
    """Another import stores each row just before this one does."""

    def __init__(self) -> None:
        super().__init__()
        self.other: Callable[[], Any] | None = None

    async def write_many(self, products: Collection[Product]) -> set[ObjectId]:
        if self.other is not None:
            other, self.other = self.other, None
            await other()
        return await super().write_many(products)


async def test_row_that_another_import_has_created_is_not_created_twice() -> None:
    repository = Overtaken()
    shop = Shop(repository)
    repository.other = lambda: Shop(repository).run(HEADER + "A,theirs,1,c,1\nB,b,1,c,1\n")
    report = await shop.run(HEADER + "A,ours,1,c,1\nB,b,1,c,1\nC,c,1,c,1\n")
    assert counts(report) == (1, 1, 1, 0)
    assert len(await repository.following(None, 10)) == 3
    assert (await shop.products())["A"].name == "ours"


async def test_edit_during_an_import_is_kept_in_other_fields() -> None:
    repository = Overtaken()
    shop = Shop(repository)
    await shop.run(HEADER + "A,a,1,c,1\n")
    stored = (await shop.products())["A"]
    repository.other = lambda: repository.replace(stored.edited({"tags": ["kept"]}, now()))
    assert counts(await shop.run(HEADER + "A,new,1,c,1\n")) == (0, 1, 0, 0)
    final = (await shop.products())["A"]
    assert (final.name, final.tags, final.revision) == ("new", ["kept"], 3)


@pytest.mark.parametrize(
    ("name", "media_type", "created", "refused", "skipped"),
    [
        ("woocommerce.csv", CSV, 28, 5, 2),
        ("shopify.csv", CSV, 21, 5, 7),
        ("dump.json", JSON, 25, 9, 0),
    ],
)
async def test_real_catalogue_is_imported_or_reported_row_by_row(
    shop: Shop, name: str, media_type: str, created: int, refused: int, skipped: int
) -> None:
    content = (CATALOGUES / name).read_bytes()
    report = await shop.run(content, media_type)
    assert (report.created, report.refused, report.skipped) == (created, refused, skipped)
    assert len({row.product_id for row in report.rows}) == created
    stored = (await shop.products()).values()
    texts = [text for one in stored for text in (one.name, one.description, *one.tags)]
    assert not [text for text in texts if "<" in text or "&amp;" in text or "alert" in text]
    again = await shop.run(content, media_type)
    assert counts(again) == (0, 0, created, refused)


async def test_woocommerce_variations_take_name_and_texts_of_their_parent(shop: Shop) -> None:
    await shop.run((CATALOGUES / "woocommerce.csv").read_bytes())
    products = await shop.products()
    blue = products["woo-hoodie-blue-no"]
    assert blue.name == "Hoodie “North” - Blue, No"
    assert (blue.category, blue.description, blue.tags) == ("Hoodies", "Warm hoodie.", ["warm"])
    assert products["id:212"].name == "Tee - M"
    assert products["id:212"].stock_quantity == 0  # -2: more pieces sold than there were
    assert products["woo-001"].category == "Table, desk & wall"
    assert products["=SUM-1"].name == "=Formula"
    assert str(products["woo-005"].price) == "1299.00"  # not the sale price


async def test_woocommerce_parent_may_follow_its_variations(shop: Shop) -> None:
    header = "ID,Type,SKU,Name,Regular price,Parent,Attribute 1 value(s)\n"
    report = await shop.run(header + "2,variation,v,Tee,5,p,S\n1,variable,p,Tee,,,S\n")
    assert (report.created, report.skipped, report.rows[0].name) == (1, 1, "Tee - S")


async def test_shopify_variants_become_products_named_by_their_options(shop: Shop) -> None:
    await shop.run((CATALOGUES / "shopify.csv").read_bytes())
    products = await shop.products()
    assert products["SC-R-S"].name == "Merino Scarf - Red / S"
    assert products["SC-R-S"].image_url == "https://cdn.shopify.com/scarf-red.jpg"
    assert products["SC-R-L"].image_url == "https://cdn.shopify.com/scarf.jpg"
    assert products["scarf/Blue/S"].description == 'Soft & warm.\n\n"Best scarf", they say.'
    assert products["4006381330001"].name == "Oak Chair"  # one variant: no option in the name


async def test_new_shopify_columns_are_understood(shop: Shop) -> None:
    header = "Title,URL handle,Description,Type,SKU,Option1 name,Option1 value,Price\n"
    rows = "Tee,tee,<p>Soft</p>,Tees,T-S,Size,S,9.00\n,tee,,,T-M,Size,M,9.00\n"
    report = await shop.run(header + rows)
    assert [row.name for row in report.rows] == ["Tee - S", "Tee - M"]


async def test_export_imported_again_changes_nothing(shop: Shop) -> None:
    """Also for texts that look like HTML, and for a product that was not imported."""
    await shop.run((CATALOGUES / "woocommerce.csv").read_bytes())
    moment = now()
    fields: dict[str, Any] = {"price": next(iter((await shop.products()).values())).price}
    fields |= {"category": " a  b ", "stock_quantity": 1, "created_at": moment}
    tags = ["a, b", "x"]
    html = Product(
        name="<b>5</b> &amp; 6", description=" \n\n\n<p>", tags=tags, updated_at=moment, **fields
    )
    await shop.repository.add(html)
    exported = await shop.export()
    before = await shop.repository.following(None, 100)
    report = await shop.run(exported, NDJSON)
    assert counts(report) == (0, 0, 29, 0)
    assert {row.stock_quantity for row in report.rows} == {None}  # sales may have changed it
    assert await shop.repository.following(None, 100) == before
    other = Shop(FakeProductRepository())
    assert counts(await other.run(exported, NDJSON)) == (29, 0, 0, 0)
    assert (await other.products())[str(html.id)].name == html.name
    assert sorted(map(_without_id, exported.splitlines())) == sorted(
        map(_without_id, (await other.export()).splitlines())
    )


def _without_id(line: bytes) -> str:
    return json.dumps(json.loads(line), sort_keys=True)


async def test_import_lets_other_tasks_run(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while no row is stored, which waits for the database."""
    turns = 0

    async def check(reader: RowReader) -> None:
        nonlocal turns
        reader.check()
        turns = 0  # of the body and the check

    monkeypatch.setattr("app.services.import_service._check", check)
    task = asyncio.create_task(shop.run(HEADER + "L,<b>a</b>,free,c,1\n" * 2_000))
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await task).refused == 2_000
    assert turns > 90
