"""Entity tags of a product, and writes that are conditional on them (RFC 9110, section 13)."""

import asyncio
from typing import Any

import httpx2
import pytest

from tests.conftest import NewBody
from tests.support import assert_problem

PRODUCTS = "/api/products"
UNKNOWN = "665f1c2e9b1d4c3a2f8e7d60"


@pytest.fixture
async def lamp(client: httpx2.AsyncClient, body: NewBody) -> httpx2.Response:
    return await client.post(PRODUCTS, json=body())


def path_of(lamp: httpx2.Response) -> str:
    return f"{PRODUCTS}/{lamp.json()['id']}"


async def test_every_response_with_one_product_has_the_etag_of_its_state(
    client: httpx2.AsyncClient, lamp: httpx2.Response
) -> None:
    path = path_of(lamp)
    first = lamp.headers["etag"]
    assert first.startswith('"')
    assert first.endswith('"')
    assert (await client.get(path)).headers["etag"] == first
    changed = await client.put(path, json={"stock_quantity": 7})
    assert changed.headers["etag"] != first
    assert (await client.get(path)).headers["etag"] == changed.headers["etag"]
    restored = await client.put(path, json={"stock_quantity": lamp.json()["stock_quantity"]})
    assert restored.headers["etag"] not in {first, changed.headers["etag"]}
    unchanged = await client.put(path, json={})
    assert unchanged.headers["etag"] == restored.headers["etag"]


async def test_get_with_current_tag_in_if_none_match_returns_304(
    client: httpx2.AsyncClient, lamp: httpx2.Response
) -> None:
    path, tag = path_of(lamp), lamp.headers["etag"]
    for value in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = await client.get(path, headers={"If-None-Match": value})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    other = await client.get(path, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.json()) == (200, lamp.json())
    await client.put(path, json={"price": 1})
    assert (await client.get(path, headers={"If-None-Match": tag})).status_code == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_write_with_stale_tag_returns_412_and_changes_nothing(
    client: httpx2.AsyncClient, lamp: httpx2.Response, method: str
) -> None:
    path, tag = path_of(lamp), lamp.headers["etag"]
    current = await client.put(path, json={"price": 12.5})
    changes: list[Any] = [{"price": 1}, {}] if method == "PUT" else [None]
    for value in (tag, '"no-such"', f"W/{current.headers['etag']}", f'{tag}, "x"'):
        for change in changes:
            answer = await client.request(method, path, json=change, headers={"If-Match": value})
            assert assert_problem(answer, 412)["type"] == "/problems/precondition-failed"
    exists = await client.request(method, path, json=changes[0], headers={"If-None-Match": "*"})
    assert_problem(exists, 412)
    stored = await client.get(path)
    assert (stored.json(), stored.headers["etag"]) == (current.json(), current.headers["etag"])


@pytest.mark.parametrize("listed", ["{}", '"other", {}', '{},"other"', "*"])
async def test_write_with_current_tag_succeeds(
    client: httpx2.AsyncClient, lamp: httpx2.Response, listed: str
) -> None:
    path = path_of(lamp)
    match = {"If-Match": listed.format(lamp.headers["etag"])}
    changed = await client.put(path, json={"price": 12.5}, headers=match)
    assert (changed.status_code, changed.json()["price"]) == (200, 12.5)
    match = {"If-Match": listed.format(changed.headers["etag"])}
    assert (await client.delete(path, headers=match)).status_code == 200
    assert_problem(await client.get(path), 404)


@pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
@pytest.mark.parametrize("value", ["7", "", "*, *", '"a" "b"', '"open'])
async def test_malformed_precondition_returns_400(
    client: httpx2.AsyncClient, lamp: httpx2.Response, header: str, value: str
) -> None:
    for method in ("GET", "PUT", "DELETE"):
        content = {"price": 1} if method == "PUT" else None
        answer = await client.request(method, path_of(lamp), json=content, headers={header: value})
        assert_problem(answer, 400)
    assert (await client.get(path_of(lamp))).json() == lamp.json()


@pytest.mark.parametrize("value", ["*", '"1"'])
async def test_precondition_on_unknown_product_returns_404(
    client: httpx2.AsyncClient, value: str
) -> None:
    for method in ("GET", "PUT", "DELETE"):
        content = {"price": 1} if method == "PUT" else None
        path = f"{PRODUCTS}/{UNKNOWN}"
        answer = await client.request(method, path, json=content, headers={"If-Match": value})
        assert_problem(answer, 404)


async def test_promise_66_one_of_twenty_writers_with_same_tag_succeeds(
    client: httpx2.AsyncClient, body: NewBody
) -> None:
    """Promise 66: edits and deletions that are conditional on the same state."""
    for round_ in range(10):
        lamp = await client.post(PRODUCTS, json=body())
        path, match = path_of(lamp), {"If-Match": lamp.headers["etag"]}
        deletions = 10 * (round_ % 2)
        answers = await asyncio.gather(
            *(client.delete(path, headers=match) for _ in range(deletions)),
            *(
                client.put(path, json={"stock_quantity": writer}, headers=match)
                for writer in range(20 - deletions)
            ),
        )
        winners = [answer for answer in answers if answer.status_code == 200]
        assert len(winners) == 1
        losers = {answer.status_code for answer in answers if answer not in winners}
        stored = await client.get(path)
        if "message" in winners[0].json():
            assert losers <= {404, 412}
            assert_problem(stored, 404)
        else:
            assert losers == {412}
            assert stored.json() == winners[0].json()
            assert stored.headers["etag"] == winners[0].headers["etag"]


async def test_deletion_without_precondition_succeeds_despite_concurrent_edits(
    client: httpx2.AsyncClient, lamp: httpx2.Response
) -> None:
    path = path_of(lamp)
    edits = [client.put(path, json={"stock_quantity": number}) for number in range(20)]
    answers = await asyncio.gather(*edits[:10], client.delete(path), *edits[10:])
    assert answers[10].status_code == 200
    assert_problem(await client.get(path), 404)
