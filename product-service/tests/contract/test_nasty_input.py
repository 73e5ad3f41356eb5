"""Promise 53: no input causes a 5xx. Promise 55: money is exact."""

import json
from decimal import Decimal

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import NewBody
from tests.support import assert_problem

PRODUCTS = "/api/products"
JSON = {"content-type": "application/json"}
UNKNOWN = "665f1c2e9b1d4c3a2f8e7d60"


def body_with(field: str, raw: bytes) -> bytes:
    """Return a valid body with one field replaced by raw JSON."""
    good = {
        "name": b'"Lamp"',
        "description": b'""',
        "price": b"1",
        "category": b'"Home"',
        "tags": b"[]",
        "stock_quantity": b"1",
    }
    pairs = (b'"%s":%s' % (key.encode(), value) for key, value in (good | {field: raw}).items())
    return b"{" + b",".join(pairs) + b"}"


NASTY = [
    b"NaN", b"-Infinity", b"1e999999999", b"1e-999999999", b"9" * 5_000, b"-1", b"0", b"0.001",
    b"1.00000000000000000000001", b"true", b"null", b'""', b'"1"', b'"\\ud800"', b'"\\u0000"',
    b'"\\udc00\\ud800"', b"[]", b"{}", b'{"$gt":""}', b'{"$ne":null}', b'{"$where":"sleep(9)"}',
    b'[{"$regex":"(a+)+$"}]', b"[" * 2_000, b'{"a":' * 2_000, b"\xff\xfe",
    b'"' + b"a" * 6_000 + b'"',
    b'["' + b'","'.join([b"a"] * 5_000) + b'"]', b'"javascript:alert(1)"',
    b"18446744073709551616",
]  # fmt: skip
FIELDS = ["name", "description", "price", "category", "tags", "image_url", "stock_quantity", "x"]


@pytest.mark.parametrize("field", FIELDS)
async def test_promise_53_no_field_value_causes_a_5xx(
    client: httpx2.AsyncClient, field: str
) -> None:
    """Promise 53."""
    for raw in NASTY:
        posted = await client.post(PRODUCTS, content=body_with(field, raw), headers=JSON)
        content = b'{"%s":%s}' % (field.encode(), raw)
        put = await client.put(f"{PRODUCTS}/{UNKNOWN}", content=content, headers=JSON)
        for answer, good in ((posted, 201), (put, 404)):
            assert answer.status_code in (good, 422), (raw[:80], answer.text)
            if answer.status_code != 201:
                assert_problem(answer, answer.status_code)


@pytest.mark.parametrize(
    "content",
    [b"", b"null", b"[]", b'"text"', b"7", b"{", b"\xff\xfe{", b"[" * 100_000, b"{}" * 2,
     b'{"name":"a","name":"b"}', b'{"\\ud800":1}', b'{"$where":"1"}', b"\x00"],
)  # fmt: skip
async def test_promise_53_no_body_causes_a_5xx(client: httpx2.AsyncClient, content: bytes) -> None:
    """Promise 53."""
    assert_problem(await client.post(PRODUCTS, content=content, headers=JSON), 422)
    answer = await client.put(f"{PRODUCTS}/{UNKNOWN}", content=content, headers=JSON)
    assert_problem(answer, 404 if content.startswith(b'{"name"') else 422)


QUERIES = [
    "{}=%00", "{}=%ED%A0%80", "{}=%FF", "{}[$gt]=", "{}=%7B%22$gt%22:%22%22%7D",
    "{}=" + "9" * 3_000,
    "{}=-9223372036854775809", "{}=1e400", "{}=NaN", "{}=(a%2B)%2B$", "{}=" + "(" * 190,
    "{}=%5C", "{}=%F0%9F%98%80", "{}=1&{}=2", "{}", "{}=%0A", "{}=%E2%80%AE", "{}=%CC%81",
]  # fmt: skip


@pytest.mark.parametrize("name", ["q", "page", "page_size", "category", "min_price", "sort"])
async def test_promise_53_no_query_causes_a_5xx(
    client: httpx2.AsyncClient, body: NewBody, name: str
) -> None:
    """Promise 53."""
    await client.post(PRODUCTS, json=body(name="a" * 200))
    path = f"{PRODUCTS}/search" if name == "q" else PRODUCTS
    for query in QUERIES:
        answer = await client.get(f"{path}?{query.replace('{}', name)}")
        assert answer.status_code in (200, 422), (query[:80], answer.text)


async def test_promise_53_operators_in_query_are_treated_as_text(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    """Promise 53: MongoDB operators in values are treated as text."""
    await client.post(PRODUCTS, json=body())
    for query in ('category={"$ne":""}', "category=$exists", "category=.*"):
        assert (await client.get(f"{PRODUCTS}?{query}")).json()["total"] == 0
    assert (await client.get(f'{PRODUCTS}/search?q={{"$gt":""}}')).json() == []


CENTS = st.integers(min_value=1, max_value=999_999_999_999)
WITH_ONE_APP = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@WITH_ONE_APP
@given(cents=CENTS)
async def test_promise_55_amount_is_returned_exactly(
    client: httpx2.AsyncClient, cents: int
) -> None:
    """Promise 55: through JSON, Decimal128 and back, and as a filter."""
    amount = Decimal(cents) / 100
    content = body_with("price", str(amount).encode())
    posted = await client.post(PRODUCTS, content=content, headers=JSON)
    path = f"{PRODUCTS}/{posted.json()['id']}"
    read = await client.get(path)
    for answer in (posted, read):
        price = json.loads(answer.content, parse_float=Decimal)["price"]
        assert not isinstance(price, str)
        assert price == amount
    exactly = await client.get(
        PRODUCTS, params={"min_price": str(amount), "max_price": str(amount)}
    )
    assert posted.json()["id"] in [one["id"] for one in exactly.json()["products"]]


@WITH_ONE_APP
@given(cents=CENTS, more=st.integers(1, 9))
async def test_promise_55_more_than_two_decimals_are_refused(
    client: httpx2.AsyncClient, cents: int, more: int
) -> None:
    """Promise 55."""
    content = body_with("price", f"{cents // 100}.{cents % 100:02}{more}".encode())
    assert_problem(await client.post(PRODUCTS, content=content, headers=JSON), 422)
