"""Every operation: status codes, response bodies and errors."""

# ruff: noqa: RUF001  (confusable characters are intended)

import asyncio
from datetime import datetime
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest

from chassis.app.pagination import encode_cursor
from tests.conftest import NewBody
from tests.support import assert_problem

PRODUCTS = "/api/products"
UNKNOWN = "665f1c2e9b1d4c3a2f8e7d60"
FIELDS = {
    "id", "name", "description", "price", "category", "tags", "image_url", "stock_quantity",
    "created_at", "updated_at",
}  # fmt: skip


async def create(client: httpx2.AsyncClient, **body: Any) -> dict[str, Any]:
    answer = await client.post(PRODUCTS, json=body)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def test_created_product_returns_201_and_is_read_unchanged(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    created = await create(client, **body())
    assert created.keys() == FIELDS
    assert body().items() <= created.items()
    for field in ("created_at", "updated_at"):
        assert datetime.fromisoformat(created[field]).utcoffset() is not None
        assert created[field].endswith("Z")
    assert (await client.get(f"{PRODUCTS}/{created['id']}")).json() == created
    assert (await client.get(PRODUCTS)).json()["products"] == [created]
    assert (await client.get(f"{PRODUCTS}/search?q=walnut")).json() == [created]


async def test_product_is_readable_right_after_201(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    for _ in range(100):
        created = await create(client, **body())
        assert (await client.get(f"{PRODUCTS}/{created['id']}")).json() == created


async def test_page_contains_its_number_size_and_total(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    created = [await create(client, **body(name=f"Thing {number}")) for number in range(12)]
    newest_first = [one["id"] for one in reversed(created)]
    page = (await client.get(PRODUCTS)).json()
    assert page.keys() == {"products", "total", "page", "page_size"}
    assert (page["total"], page["page"], page["page_size"]) == (12, 1, 10)
    assert [one["id"] for one in page["products"]] == newest_first[:10]
    second = (await client.get(PRODUCTS, params={"page": 2, "page_size": 5})).json()
    assert (second["total"], second["page"], second["page_size"]) == (12, 2, 5)
    assert [one["id"] for one in second["products"]] == newest_first[5:10]
    beyond = (await client.get(PRODUCTS, params={"page": 1_000_000, "page_size": 100})).json()
    assert (beyond["products"], beyond["total"]) == ([], 12)


async def test_list_is_filtered_and_sorted(client: httpx2.AsyncClient, body: NewBody) -> None:
    for name, price, category in [("b", 20, "Home"), ("a", 5.5, "home"), ("c", 100, "Books")]:
        await create(client, **body(name=name, price=price, category=category))

    async def names(**query: Any) -> list[str]:
        page = (await client.get(PRODUCTS, params=query)).json()
        assert page["total"] == len(page["products"])
        return [one["name"] for one in page["products"]]

    assert await names(sort="price") == ["a", "b", "c"]
    assert await names(sort="-price") == ["c", "b", "a"]
    assert await names(sort="name") == ["a", "b", "c"]
    assert await names(sort="created_at") == ["b", "a", "c"]
    assert await names(sort="-created_at") == ["c", "a", "b"]
    assert await names(category="HOME", sort="name") == ["a", "b"]
    assert await names(category="Hom") == []
    assert await names(min_price="5.5", max_price="20", sort="price") == ["a", "b"]
    assert await names(min_price="5.51", max_price="99.99") == ["b"]


@pytest.mark.parametrize(
    "query",
    [
        "page=0", "page=-1", "page=x", "page=1000001", "page=" + "9" * 400, "page=1.5",
        "page_size=0", "page_size=101", "page_size=", "min_price=-1", "min_price=x",
        "min_price=NaN", "max_price=Infinity", "max_price=1.005", "min_price=5&max_price=4",
        "sort=id", "sort=-name", "sort=$where", "category=", "category=%20", "category=%00",
        "category=" + "x" * 101,
    ],
)  # fmt: skip
async def test_invalid_list_query_returns_422(client: httpx2.AsyncClient, query: str) -> None:
    assert_problem(await client.get(f"{PRODUCTS}?{query}"), 422)


async def test_search_returns_best_match_first(client: httpx2.AsyncClient, body: NewBody) -> None:
    rows: list[tuple[str, str, list[str]]] = [
        ("Fuse", "Home", ["lamp parts"]),
        ("Bulb", "Lamps", []),
        ("Headlamp", "Home", []),
        ("Lampshade", "Home", []),
        ("Torch", "Home", ["Lamp"]),
        ("Desk LAMP", "Home", []),
        ("lamp", "Home", []),
        ("Chair", "Home", []),
    ]
    for name, category, tags in rows:
        await create(client, **body(name=name, category=category, tags=tags))
    expected = [name for name, _, _ in reversed(rows)][1:]
    for q in ("lamp", "LAMP", " Lamp "):
        found = (await client.get(f"{PRODUCTS}/search", params={"q": q})).json()
        assert [one["name"] for one in found] == expected
    few = (await client.get(f"{PRODUCTS}/search", params={"q": "lamp", "limit": 2})).json()
    assert [one["name"] for one in few] == expected[:2]
    nothing = await client.get(f"{PRODUCTS}/search", params={"q": "zeppelin"})
    assert (nothing.status_code, nothing.json()) == (200, [])


@pytest.mark.parametrize(
    ("name", "other", "queries"),
    [
        ("Smørrebrød Kniv", "Kniv", ["smorrebrod", "SMØRREBRØD", "rebrod"]),
        ("Łódź", "Lotte", ["lodz", "łódź", "LÓDŹ", "odz"]),
        ("İstanbul Çay", "Instant tea", ["istanbul", "ISTANBUL", "cay", "stanb"]),
        ("ＬＡＭＰ １", "Bulb", ["lamp", "lamp 1", "amp"]),
        ("バス時刻表", "ハス茶", ["バス", "ﾊﾞｽ", "バス時刻表"]),
        ("ハス茶", "バス時刻表", ["ハス", "ハス茶"]),
    ],
)
async def test_search_ignores_accents_and_keeps_voicing_marks(
    client: httpx2.AsyncClient, body: NewBody, name: str, other: str, queries: list[str]
) -> None:
    for each in (other, name):
        await create(client, **body(name=each, tags=[]))
    for q in queries:
        found = (await client.get(f"{PRODUCTS}/search", params={"q": q})).json()
        assert [one["name"] for one in found] == [name], q


async def test_search_treats_regex_characters_as_text(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    await create(client, **body(name="C++ (2nd ed.) [new]"))
    await create(client, **body(name="Cobol"))
    for q, hits in [("c++", 1), (".*", 0), ("[new]", 1), ("(2nd", 1), ("^c", 0), ("c.b", 0)]:
        found = (await client.get(f"{PRODUCTS}/search", params={"q": q})).json()
        assert len(found) == hits, q


async def test_search_has_filters_orders_and_pages(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    for number in range(5):
        fields = body(name=f"Lamp {number}", price=number + 1, stock_quantity=number % 2)
        await create(client, **fields)
    await create(client, **body(name="Garden lamp", category="Garden", price=50))

    async def found(**query: Any) -> tuple[list[float], str]:
        answer = await client.get(f"{PRODUCTS}/search", params={"q": "lamp", **query})
        assert answer.status_code == 200, answer.text
        return [one["price"] for one in answer.json()], answer.headers["x-total-count"]

    assert await found(sort="price", limit=2) == ([1.0, 2.0], "6")
    assert await found(sort="price", limit=2, page=3) == ([5.0, 50.0], "6")
    assert await found(sort="-price", category="home", limit=1) == ([5.0], "5")
    assert await found(sort="price", min_price=2, max_price=4) == ([2.0, 3.0, 4.0], "3")
    assert await found(sort="price", in_stock="false") == ([1.0, 3.0, 5.0], "3")
    assert await found(limit=1, page=1000) == ([], "6")


async def test_search_corrects_spelling_errors(client: httpx2.AsyncClient, body: NewBody) -> None:
    await create(client, **body(name="Wireless headphones"))
    for q in ("hedphones", "headphnoes", "wirless hedphonse"):
        found = (await client.get(f"{PRODUCTS}/search", params={"q": q})).json()
        assert [one["name"] for one in found] == ["Wireless headphones"], q


async def test_suggest_completes_names_and_categories(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    lamp = await create(client, **body(name="Walnut lamp", category="Lamps"))
    answer = await client.get(f"{PRODUCTS}/suggest", params={"q": "lam"})
    assert answer.json() == {
        "suggestions": [
            {"text": "Lamps", "kind": "category", "product_id": None},
            {"text": "Walnut lamp", "kind": "product", "product_id": lamp["id"]},
        ]
    }


async def test_facets_count_products(client: httpx2.AsyncClient, body: NewBody) -> None:
    await create(client, **body(name="Lamp", price=5, tags=["oak"]))
    await create(client, **body(name="Sofa", price=700, tags=["oak"], stock_quantity=0))
    assert (await client.get(f"{PRODUCTS}/facets")).json() == {
        "total": 2,
        "categories": [{"value": "Home", "count": 2}],
        "prices": [
            {"from_price": 0, "below_price": 10, "count": 1},
            {"from_price": 500, "below_price": 1000, "count": 1},
        ],
        "tags": [{"value": "oak", "count": 2}],
        "in_stock": 1,
        "sold_out": 1,
    }
    query: dict[str, Any] = {"q": "lamp", "max_price": 4}
    assert (await client.get(f"{PRODUCTS}/facets", params=query)).json()["total"] == 0


async def test_link_header_leads_through_all_pages(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    for number in range(7):
        await create(client, **body(name=f"Lamp {number}", price=number % 3 + 1))
    address: str | None = f"{PRODUCTS}?page_size=3&sort=price&category=home"
    seen: list[str] = []
    while address is not None:
        answer = await client.get(address)
        assert answer.json()["total"] == 7
        seen += [one["id"] for one in answer.json()["products"]]
        link = answer.headers.get("link")
        address = None if link is None else link.split(">")[0].removeprefix("<")
    whole = await client.get(f"{PRODUCTS}?page_size=100&sort=price&category=home")
    assert seen == [one["id"] for one in whole.json()["products"]]
    assert "link" not in whole.headers


@pytest.mark.parametrize("sort", ["price", "name", "created_at"])
async def test_invalid_cursor_returns_400(client: httpx2.AsyncClient, sort: str) -> None:
    for cursor in (
        "x",
        encode_cursor("x", "y"),
        encode_cursor("1"),
        encode_cursor("NaN", "0" * 24),
    ):
        if sort == "name" and cursor == encode_cursor("NaN", "0" * 24):
            continue  # a name like any other
        answer = await client.get(PRODUCTS, params={"cursor": cursor, "sort": sort})
        assert_problem(answer, 400)
        assert_problem(await client.get(f"{PRODUCTS}/changes", params={"after": cursor}), 400)


@pytest.mark.parametrize("path", ["", "/search?q=lamp", "/suggest?q=lamp", "/facets"])
async def test_unchanged_list_returns_304(
    client: httpx2.AsyncClient, body: NewBody, path: str
) -> None:
    created = await create(client, **body(name="Lamp"))
    first = await client.get(PRODUCTS + path)
    assert first.headers["cache-control"] == "public, max-age=1, stale-while-revalidate=10"
    condition = {"If-None-Match": first.headers["etag"]}
    again = await client.get(PRODUCTS + path, headers=condition)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    await client.put(f"{PRODUCTS}/{created['id']}", json={"name": "Lamp 2", "category": "Garden"})
    changed = await client.get(PRODUCTS + path, headers=condition)
    assert changed.status_code == 200


@pytest.mark.parametrize(
    "query",
    ["", "q=", "q=%20%20", "q=" + "x" * 201, "q=%00", "q=a&limit=0", "q=a&limit=101",
     "q[$gt]=", "q=a&limit=x"],
)  # fmt: skip
async def test_invalid_search_returns_422(client: httpx2.AsyncClient, query: str) -> None:
    assert_problem(await client.get(f"{PRODUCTS}/search?{query}"), 422)


async def test_put_changes_only_given_fields(client: httpx2.AsyncClient, body: NewBody) -> None:
    created = await create(client, **body())
    path = f"{PRODUCTS}/{created['id']}"
    changes: list[dict[str, Any]] = [
        {"price": 12.5},
        {"name": "Oak lamp", "tags": ["oak"]},
        {"image_url": None},
        {"stock_quantity": 0, "description": ""},
    ]
    expected = dict(created)
    for change in changes:
        answer = await client.put(path, json=change)
        assert answer.status_code == 200
        expected |= change
        changed = answer.json()
        assert changed["updated_at"] >= expected["updated_at"]
        expected["updated_at"] = changed["updated_at"]
        assert changed == expected == (await client.get(path)).json()
    found = (await client.get(f"{PRODUCTS}/search", params={"q": "walnut"})).json()
    assert found == []


async def test_empty_put_returns_200_and_changes_nothing(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    created = await create(client, **body())
    answer = await client.put(f"{PRODUCTS}/{created['id']}", json={})
    assert (answer.status_code, answer.json()) == (200, created)


async def test_put_with_null_or_invalid_value_returns_422(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    created = await create(client, **body())
    path = f"{PRODUCTS}/{created['id']}"
    fields = ("name", "description", "price", "category", "tags", "stock_quantity")
    bad: list[Any] = [{field: None} for field in fields]
    bad += [{"id": UNKNOWN}, {"created_at": None}, {"$set": {"price": 1}}, [], None, "text", 7]
    bad += [{"price": 5, "unknown": 1}]
    for change in bad:
        assert_problem(await client.put(path, json=change), 422)
    assert (await client.get(path)).json() == created


async def test_deleted_product_is_absent_from_every_read(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    created = await create(client, **body())
    path = f"{PRODUCTS}/{created['id']}"
    answer = await client.delete(path)
    assert answer.status_code == 200
    message = answer.json()["message"]
    assert message.startswith("Product ")
    assert "deleted successfully" in message
    assert created["name"] in message
    for method in ("GET", "PUT", "DELETE"):
        content = {"price": 1} if method == "PUT" else None
        assert_problem(await client.request(method, path, json=content), 404)
    assert (await client.get(PRODUCTS)).json()["total"] == 0
    assert (await client.get(f"{PRODUCTS}/search?q=walnut")).json() == []


MALFORMED = ["x", "665f1c2e9b1d4c3a2f8e7d6", UNKNOWN + "0", "z" * 24, "%00", "é" * 24, "null",
             "665f1c2e-9b1d-4c3a-2f8e-7d60", "%7B%22$gt%22:%22%22%7D", "a" * 3_000]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_malformed_id_returns_400_and_unknown_id_404(
    client: httpx2.AsyncClient, method: str
) -> None:
    content = {"price": 1} if method == "PUT" else None
    for malformed in MALFORMED:
        answer = await client.request(method, f"{PRODUCTS}/{malformed}", json=content)
        assert_problem(answer, 400)
    assert_problem(await client.request(method, f"{PRODUCTS}/{UNKNOWN}", json=content), 404)


async def test_id_in_upper_case_is_accepted(client: httpx2.AsyncClient, body: NewBody) -> None:
    created = await create(client, **body())
    assert (await client.get(f"{PRODUCTS}/{created['id'].upper()}")).json() == created


async def test_image_is_cacheable_svg_with_strict_csp(
    client: httpx2.AsyncClient,
) -> None:
    answer = await client.get(f"{PRODUCTS}/images/walnut-desk-lamp.svg")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert "public" in answer.headers["cache-control"]
    assert "max-age" in answer.headers["cache-control"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    ElementTree.fromstring(answer.text)  # noqa: S314  drawn by this service
    for bad in ("A", "a_b", "%3Cscript%3E", "a%00", "a%22b", "x" * 81, "..%2e", "é"):
        assert_problem(await client.get(f"{PRODUCTS}/images/{bad}.svg"), 400)
    assert_problem(await client.get(f"{PRODUCTS}/images/lamp.png"), 404)


async def test_health_metrics_and_documents_are_served(client: httpx2.AsyncClient) -> None:
    health = await client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "UP")
    assert health.json()["service"] == "product-service"
    ready = await client.get("/health/ready")
    assert (ready.status_code, ready.json()["dependencies"]["database"]["status"]) == (200, "UP")
    metrics = await client.get("/metrics")
    assert "http_request_duration_seconds_bucket" in metrics.text
    assert (await client.get("/docs")).status_code == 200


async def test_promise_54_every_error_is_a_problem_document(client: httpx2.AsyncClient) -> None:
    """Promise 54."""
    assert_problem(await client.get("/nowhere"), 404)
    assert_problem(await client.get("/api/products/"), 404)
    assert_problem(await client.patch(PRODUCTS, json={}), 405)
    large = {"content-type": "application/json", "content-length": "1000001"}
    assert_problem(await client.post(PRODUCTS, content=b"x" * 1_000_001, headers=large), 413)
    assert_problem(await client.post(PRODUCTS, json={}), 422)
    assert_problem(await client.post(PRODUCTS, content=b"{}"), 415)


async def test_hundred_concurrent_creations_are_all_stored(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    calls = (create(client, **body(name=f"Thing {number}")) for number in range(100))
    created = await asyncio.gather(*calls)
    assert len({one["id"] for one in created}) == 100
    assert (await client.get(PRODUCTS)).json()["total"] == 100
