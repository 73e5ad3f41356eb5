"""The promises about stock, with many concurrent callers on a real PostgreSQL.

`PROMISE_SECONDS` is the duration of each randomised test: short by default, minutes in a nightly
run. Each test prints its seed; `PROMISE_SEED` repeats a run.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import uuid4

import httpx2
import pytest

from tests.conftest import SettingsFactory
from tests.integration.conftest import client_of, running
from tests.stock import Shop, path_of

SECONDS = float(os.environ.get("PROMISE_SECONDS", "6"))


SUM_AND_QUANTITY = """
    SELECT (SELECT coalesce(sum(delta), 0) FROM stock_movements WHERE product_id = $1) AS sum,
        coalesce((SELECT quantity FROM inventory WHERE product_id = $1), 0) AS quantity
"""


@pytest.fixture
def dice() -> random.Random:
    seed = int(os.environ.get("PROMISE_SEED", random.randrange(2**32)))
    print(f"PROMISE_SEED={seed}")
    return random.Random(seed)


async def for_a_while(workers: int, act: Callable[[], Awaitable[None]]) -> int:
    """Run `act` in a loop in `workers` tasks until the time is up; return the number of calls."""
    end = time.monotonic() + SECONDS
    calls = 0

    async def work() -> None:
        nonlocal calls
        while time.monotonic() < end:
            await act()
            calls += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(work())
    return calls


async def later(seconds: float, call: Awaitable[httpx2.Response]) -> httpx2.Response:
    await asyncio.sleep(seconds)
    return await call


async def deadlocks(shop: Shop) -> int:
    rows = await shop.sql(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    return int(rows[0]["deadlocks"])


async def statuses(*calls: Awaitable[httpx2.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in await asyncio.gather(*calls))


WAYS: dict[str, Callable[[Shop, str], Awaitable[httpx2.Response]]] = {
    "with a key": lambda shop, p: shop.reduce({p: 1}),
    "without": lambda shop, p: shop.move("reduce", p, 1),
}


@pytest.mark.parametrize("buy", WAYS.values(), ids=WAYS)
async def test_promise_1_two_hundred_buyers_get_exactly_ten_pieces(
    shop: Shop, buy: Callable[[Shop, str], Awaitable[httpx2.Response]]
) -> None:
    """Promise 1: exactly ten are sold."""
    product = await shop.stock(10)
    counted = await statuses(*(buy(shop, product) for _ in range(200)))
    assert counted == {200: 10, 400: 190}
    assert await shop.quantity(product) == 0
    await shop.assert_ledger_is_right(product)


async def test_promise_1_random_stock_and_buyers_never_oversell(
    shop: Shop, dice: random.Random
) -> None:
    """Promise 1, with random S and N: min(S, N) are sold, by both reduce calls mixed."""
    rounds = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and rounds < 1_000:
        pieces, buyers = dice.randint(0, 12), dice.randint(1, 24)
        product = await shop.stock(pieces)
        calls = [
            shop.reduce({product: 1}) if dice.random() < 0.5 else shop.move("reduce", product, 1)
            for _ in range(buyers)
        ]
        counted = await statuses(*calls)
        sold = min(pieces, buyers)
        assert counted == Counter({200: sold, 400: buyers - sold}), (pieces, buyers)
        assert await shop.quantity(product) == pieces - sold
        rounds += 1
    print(f"{rounds} rounds")
    assert rounds >= 5


async def test_promise_2_ledger_equals_quantity_at_any_time(
    shop: Shop, dice: random.Random
) -> None:
    """Promise 2: after each random reduce, restock, put or reverse the sum equals the quantity."""
    products = [await shop.stock(dice.randint(0, 60)) for _ in range(4)]
    taken: list[str] = []

    async def act() -> None:
        product = dice.choice(products)
        match dice.randrange(8):
            case 0 | 1 | 2:
                key = str(uuid4())
                some = dice.sample(products, dice.randint(1, 3))
                answer = await shop.reduce({p: dice.randint(1, 9) for p in some}, key)
                taken.append(key)
            case 3:
                answer = await shop.move("restock", product, dice.randint(1, 9))
            case 4:
                answer = await shop.put(product, quantity=dice.randint(0, 60))
            case 5:
                answer = await shop.put(product, reserved_qty=dice.randint(0, 30))
            case _:
                key = dice.choice(taken) if taken and dice.random() < 0.9 else str(uuid4())
                answer = await shop.reverse(key)
        assert answer.status_code in (200, 400), answer.text
        await shop.assert_ledger_is_right(*products)

    before = await deadlocks(shop)
    calls = await for_a_while(12, act)
    print(f"{calls} calls, each followed by a sum")
    assert calls >= 20
    assert await deadlocks(shop) == before


async def test_promise_2_ledger_equals_quantity_of_a_recreated_product(
    shop: Shop, dice: random.Random
) -> None:
    """Promise 2: the ledger outlives its item; its sum is zero while the item is deleted."""
    product = await shop.stock(30)
    taken: list[str] = []

    async def act() -> None:
        match dice.randrange(5):
            case 0:
                answer = await shop.client.delete(path_of(product))
            case 1 | 2:
                body = {"product_id": product, "product_name": "P", "quantity": 30}
                answer = await shop.client.post("/api/inventory", json=body)
            case 3:
                taken.append(key := str(uuid4()))
                answer = await shop.reduce({product: 2}, key)
            case _:
                answer = await shop.reverse(dice.choice(taken) if taken else "none")
        assert answer.status_code in (200, 201, 400, 404, 409), answer.text
        [row] = await shop.sql(SUM_AND_QUANTITY, product)
        assert row["sum"] == row["quantity"]

    assert await for_a_while(8, act) >= 20


@pytest.mark.parametrize("copies", [2, 10, 50])
async def test_promise_5_concurrent_repeats_of_one_key_have_one_effect(
    shop: Shop, copies: int
) -> None:
    """Promise 5: 2 to 50 concurrent copies have one effect and get the same response."""
    a, b, key = await shop.stock(100), await shop.stock(100), str(uuid4())
    answers = await asyncio.gather(*(shop.reduce({a: 3, b: 4}, key) for _ in range(copies)))
    assert {(answer.status_code, answer.content) for answer in answers} == {
        (200, answers[0].content)
    }
    assert (await shop.quantity(a), await shop.quantity(b)) == (97, 96)
    await shop.assert_ledger_is_right(a, b)

    restocks = await asyncio.gather(
        *(shop.move("restock", a, 7, f"{key}-restock") for _ in range(copies))
    )
    assert len({answer.content for answer in restocks}) == 1
    reversals = await asyncio.gather(*(shop.reverse(key) for _ in range(copies)))
    assert len({answer.content for answer in reversals}) == 1
    assert (await shop.quantity(a), await shop.quantity(b)) == (107, 100)


async def test_promise_5_concurrent_different_requests_of_one_key_have_one_effect(
    shop: Shop,
) -> None:
    """Promise 5: the first request takes effect; the other gets a key conflict."""
    for _ in range(20):
        product, key = await shop.stock(100), str(uuid4())
        calls = (shop.reduce({product: n % 2 + 1}, key) for n in range(10))
        counted = await statuses(*calls)
        assert counted == {200: 5, 422: 5}
        assert await shop.quantity(product) in (98, 99)


async def test_promise_5_key_is_known_after_a_restart(
    shop: Shop, make_settings: SettingsFactory, database_url: str
) -> None:
    """Promise 5: the key is stored in the database, not in the process."""
    product, key = await shop.stock(100), str(uuid4())
    first = await shop.reduce({product: 3}, key)
    settings = make_settings(database_url=database_url)
    async with running(settings) as other, client_of(other) as client:
        anew = Shop(client, other.state.database)
        assert (await anew.reduce({product: 3}, key)).content == first.content
    assert await shop.quantity(product) == 97


async def test_reduction_racing_with_its_reversal_takes_nothing(
    shop: Shop, dice: random.Random
) -> None:
    """Calls with one key are serialised, even before the key has a row. In either
    order, no stock is taken in the end."""
    ends: Counter[tuple[int, int]] = Counter()

    async def act() -> None:
        a, b = sorted((await shop.stock(5), await shop.stock(5)))
        key = str(uuid4())
        head_start = dice.uniform(0, 0.02)  # seconds; else the shorter reversal always wins
        calls = [
            shop.reduce({a: 2, b: 3}, key),
            later(head_start, shop.reverse(key)),
            later(dice.uniform(0, 0.02), shop.reduce({b: 3, a: 2}, key)),
        ]
        answers = await asyncio.gather(*calls)
        returned = next(body["returned"] for x in answers if "returned" in (body := x.json()))
        took = sum(isinstance(answer.json(), list) for answer in answers)
        ends[took, len(returned)] += 1
        assert bool(returned) == bool(took), [answer.text for answer in answers]
        assert {answer.status_code for answer in answers} <= {200, 409}
        assert (await shop.quantity(a), await shop.quantity(b)) == (5, 5)

    calls = await for_a_while(6, act)
    print(f"{calls} races: {dict(ends)}")
    assert len(ends) > 1, "both orders must have happened"


async def test_promise_7_crossing_reductions_never_deadlock(shop: Shop) -> None:
    """Promise 7: A takes (p, q) while B takes (q, p), mixed with reversals and restocks."""
    p, q = await shop.stock(900_000_000), await shop.stock(900_000_000)
    flip = iter(range(10**9))
    codes: Counter[int] = Counter()

    async def pair() -> None:
        keys = str(uuid4()), str(uuid4())
        calls = [shop.reduce({p: 1, q: 1}, keys[0]), shop.reduce({q: 1, p: 1}, keys[1])]
        if next(flip) % 4 == 0:
            calls += [shop.reverse(keys[0]), shop.move("restock", q, 1)]
        codes.update(await statuses(*calls))

    before = await deadlocks(shop)
    pairs = await for_a_while(10, pair)
    print(f"{pairs} pairs: {dict(codes)}")
    assert pairs >= 20
    assert set(codes) <= {200, 409}
    assert await deadlocks(shop) == before
    await shop.assert_ledger_is_right(p, q)
