"""Parts of the fleet are killed, stopped and starved under load; nothing promised is lost."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from tests.fleet_under_test import Fleet, Shop, new_email, until

CLIENTS = 16


@pytest.fixture(autouse=True)
async def _whole_again(fleet: Fleet) -> AsyncIterator[None]:
    """Whatever a test has broken runs again before the next one begins."""
    yield
    for name in ("kafka", "mailbox", "postgres", "mongo"):
        fleet("resume", name)
    fleet("up")


async def place_surely(shop: Shop, product: str, email: str) -> str:
    """Place one order, with one key, however often it takes; its id."""
    key = secrets.token_hex(8)
    while True:
        with contextlib.suppress(httpx2.TransportError):
            answer = await shop.place((product, 1), email=email, key=key)
            if answer.status_code == 201:
                order_id: str = answer.json()["id"]
                return order_id
            assert answer.status_code in (409, 503), answer.text
        await asyncio.sleep(0.2)  # between two tries


async def place_many(
    shop: Shop, product: str, email: str, count: int, on_answer: Callable[[int], None]
) -> list[str]:
    """`count` orders by 16 clients; the ids of those that got their 201.

    A client that got none asks again with the same key until it has one, as a customer would.
    """
    acknowledged: list[str] = []
    left = iter(range(count))

    async def customer() -> None:
        for _ in left:
            acknowledged.append(await place_surely(shop, product, email))
            on_answer(len(acknowledged))

    async with asyncio.timeout(120):
        await asyncio.gather(*(customer() for _ in range(CLIENTS)))
    return acknowledged


async def nothing_is_lost(shop: Shop, product: str, email: str, ids: list[str]) -> None:
    """Every 201 stands and is on the topic, none is PENDING, stock plus sold is the first 1,000."""
    orders = await shop.settled(email, seconds=30)
    standing = {order["id"] for order in orders if order["status"] == "CONFIRMED"}
    assert set(ids) == standing

    async def conserved() -> bool:
        return await shop.left(product) + len(standing) == 1_000

    await until(conserved, 30, "stock plus sold equals the start")
    seen = await shop.published("order-placed", standing)
    assert set(seen) == standing


async def mailed(
    shop: Shop, email: str, ids: list[str], seconds: float, *, crashes: int = 0
) -> None:
    """Every 201 gets its confirmation within so many seconds, and no other order does.

    A customer who got a 503 and asked again has a cancelled order too, of which no mail tells.
    """
    orders = await shop.settled(email)
    standing = [order for order in orders if order["id"] in ids]
    assert len(standing) == len(ids)
    assert {order["status"] for order in standing} == {"CONFIRMED"}
    await shop.confirmed_by_mail(standing, seconds, crashes=crashes)
    subjects = await shop.mails_of(email)
    undone = [order["order_number"] for order in orders if order["id"] not in ids]
    assert not [number for number in undone if any(number in each for each in subjects)]


async def test_order_service_is_killed_in_the_middle_of_300_orders(
    fleet: Fleet, shop: Shop
) -> None:
    """Promises 10, 13, 16: kill -9 twice under load; retries carry their keys."""
    product, email = await shop.stock(1_000), new_email("killed")
    kills: list[asyncio.Task[None]] = []

    async def kill_and_restart() -> None:
        await fleet.run("kill", "order-service")
        await fleet.run("restart", "order-service")

    def on_answer(count: int) -> None:
        if count in (60, 180):
            kills.append(asyncio.create_task(kill_and_restart()))

    ids = await place_many(shop, product, email, 300, on_answer)
    await asyncio.gather(*kills)
    assert len(kills) == 2
    assert len(ids) == len(set(ids)) == 300
    await nothing_is_lost(shop, product, email, ids)


async def test_inventory_is_killed_in_the_middle_of_150_orders(fleet: Fleet, shop: Shop) -> None:
    """Promises 4 and 6: whatever inventory had done is found out by its key."""
    product, email = await shop.stock(1_000), new_email("inventory")
    kills: list[asyncio.Task[None]] = []

    async def kill_and_restart() -> None:
        await fleet.run("kill", "inventory-service")
        await fleet.run("restart", "inventory-service")

    def on_answer(count: int) -> None:
        if count == 50:
            kills.append(asyncio.create_task(kill_and_restart()))

    ids = await place_many(shop, product, email, 150, on_answer)
    await asyncio.gather(*kills)
    await nothing_is_lost(shop, product, email, ids)


async def test_the_broker_stands_still_for_20_seconds_and_no_order_fails(
    fleet: Fleet, shop: Shop
) -> None:
    """Promise 17; and order-service, killed and started meanwhile, recovers by itself."""
    product, email = await shop.stock(1_000), new_email("broker")
    fleet("pause", "kafka")
    paused_at = asyncio.get_running_loop().time()
    ids: list[str] = []
    for _ in range(50):
        answer = await shop.place((product, 1), email=email)
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["id"])
    await fleet.run("kill", "order-service")
    await fleet.run("restart", "order-service")
    while asyncio.get_running_loop().time() - paused_at < 20:
        answer = await shop.place((product, 1), email=email)
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["id"])
        await asyncio.sleep(0.2)  # the rate of this load
    await fleet.run("resume", "kafka")
    await nothing_is_lost(shop, product, email, ids)
    await mailed(shop, email, ids, seconds=60)


async def test_notification_is_killed_and_each_order_has_one_mail(fleet: Fleet, shop: Shop) -> None:
    """Promises 23 and 24: a crash may double the one mail between SMTP's yes and its record."""
    product, email = await shop.stock(1_000), new_email("mailed")
    kills: list[asyncio.Task[str]] = []

    def on_answer(count: int) -> None:
        if count == 50:
            kills.append(asyncio.create_task(fleet.run("kill", "notification-service")))

    ids = await place_many(shop, product, email, 100, on_answer)
    await asyncio.gather(*kills)
    await fleet.run("restart", "notification-service")
    await mailed(shop, email, ids, seconds=90, crashes=1)


async def test_smtp_is_away_for_20_seconds_and_no_mail_is_lost(fleet: Fleet, shop: Shop) -> None:
    """Promise 27, in the fleet: the mailbox accepts nothing, then everything."""
    product, email = await shop.stock(1_000), new_email("smtp")
    fleet("pause", "mailbox")
    paused_at = asyncio.get_running_loop().time()
    ids = await place_many(shop, product, email, 40, lambda _: None)

    async def twenty_seconds_have_passed() -> bool:
        return asyncio.get_running_loop().time() - paused_at >= 20

    await until(twenty_seconds_have_passed, 60, "the outage is over")
    await fleet.run("resume", "mailbox")
    await mailed(shop, email, ids, seconds=60)


async def test_a_message_that_is_not_json_is_a_dead_letter_and_the_next_mail_comes(
    shop: Shop,
) -> None:
    """Promise 25, in the fleet."""
    poison = f"not json {secrets.token_hex(8)}".encode()
    await shop.publish_raw("order-placed", poison)
    product, email = await shop.stock(10), new_email("poison")
    order = (await shop.place((product, 1), email=email)).json()
    await shop.confirmed_by_mail([order], seconds=60)

    async def buried() -> bool:
        return poison in await shop.dead_letters("order-placed")

    await until(buried, 30, "the poison is on order-placed.dlq")
