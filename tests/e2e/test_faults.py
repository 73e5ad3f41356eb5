"""Parts of the fleet are killed and paused under load; no order, event or mail is lost."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable

import httpx2
import pytest

from tests.fleet_under_test import Fleet, Shop, new_email, until

CLIENTS = 16


@pytest.fixture(autouse=True)
async def restore_fleet(fleet: Fleet) -> AsyncIterator[None]:
    """Start everything that a test has stopped before the next test begins."""
    yield
    for name in ("kafka", "mailbox", "postgres", "mongo"):
        fleet("resume", name)
    fleet("up")


async def place_until_accepted(shop: Shop, product: str, email: str) -> str:
    """Place an order, and retry with the same key until it is accepted. Return its id."""
    key = secrets.token_hex(8)
    while True:
        with contextlib.suppress(httpx2.TransportError):
            answer = await shop.place((product, 1), email=email, key=key)
            if answer.status_code == 201:
                order_id: str = answer.json()["id"]
                return order_id
            assert answer.status_code in (409, 503), answer.text
        await asyncio.sleep(0.2)  # retry interval


async def place_many(
    shop: Shop, product: str, email: str, count: int, on_answer: Callable[[int], None]
) -> list[str]:
    """Place `count` orders with 16 clients. Return their ids.

    A client that receives no 201 retries with the same key until it does.
    """
    acknowledged: list[str] = []
    remaining_stock = iter(range(count))

    async def customer() -> None:
        for _ in remaining_stock:
            acknowledged.append(await place_until_accepted(shop, product, email))
            on_answer(len(acknowledged))

    async with asyncio.timeout(120):
        await asyncio.gather(*(customer() for _ in range(CLIENTS)))
    return acknowledged


async def assert_nothing_lost(shop: Shop, product: str, email: str, ids: list[str]) -> None:
    """Every 201 has an order and an event, none is PENDING, and stock plus sales is 1,000."""
    orders = await shop.settled(email, seconds=30)
    standing = {order["id"] for order in orders if order["status"] == "CONFIRMED"}
    assert set(ids) == standing

    async def conserved() -> bool:
        return await shop.remaining_stock(product) + len(standing) == 1_000

    await until(conserved, 30, "stock plus sold equals the start")
    seen = await shop.published("order-placed", standing)
    assert set(seen) == standing


async def wait_for_confirmations(
    shop: Shop, email: str, ids: list[str], seconds: float, *, crashes: int = 0
) -> None:
    """Wait until every 201 has its confirmation mail, and check that no other order has one.

    A customer who retried after a 503 has a cancelled order as well, which is not mailed.
    """
    orders = await shop.settled(email)
    standing = [order for order in orders if order["id"] in ids]
    assert len(standing) == len(ids)
    assert {order["status"] for order in standing} == {"CONFIRMED"}
    await shop.confirmed_by_mail(standing, seconds, crashes=crashes)
    subjects = await shop.mails_of(email)
    undone = [order["order_number"] for order in orders if order["id"] not in ids]
    assert not [number for number in undone if any(number in each for each in subjects)]


async def test_kill_of_order_service_during_300_orders_loses_none(fleet: Fleet, shop: Shop) -> None:
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
    await assert_nothing_lost(shop, product, email, ids)


async def test_kill_of_inventory_service_during_150_orders_loses_none(
    fleet: Fleet, shop: Shop
) -> None:
    """Promises 4 and 6: the outcome of an interrupted reservation is resolved by its key."""
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
    await assert_nothing_lost(shop, product, email, ids)


async def test_broker_pause_of_20_seconds_fails_no_order(fleet: Fleet, shop: Shop) -> None:
    """Promise 17. order-service is killed and restarted during the outage, and recovers."""
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
        await asyncio.sleep(0.2)  # rate of the load
    await fleet.run("resume", "kafka")
    await assert_nothing_lost(shop, product, email, ids)
    await wait_for_confirmations(shop, email, ids, seconds=60)


async def test_kill_of_notification_service_leaves_one_mail_per_order(
    fleet: Fleet, shop: Shop
) -> None:
    """Promises 23 and 24: a crash may duplicate the one mail that SMTP accepted and that was not
    recorded yet."""
    product, email = await shop.stock(1_000), new_email("mailed")
    kills: list[asyncio.Task[str]] = []

    def on_answer(count: int) -> None:
        if count == 50:
            kills.append(asyncio.create_task(fleet.run("kill", "notification-service")))

    ids = await place_many(shop, product, email, 100, on_answer)
    await asyncio.gather(*kills)
    await fleet.run("restart", "notification-service")
    await wait_for_confirmations(shop, email, ids, seconds=90, crashes=1)


async def test_smtp_outage_of_20_seconds_loses_no_mail(fleet: Fleet, shop: Shop) -> None:
    """Promise 27, in the fleet: the mailbox refuses connections, then accepts all mails."""
    product, email = await shop.stock(1_000), new_email("smtp")
    fleet("pause", "mailbox")
    paused_at = asyncio.get_running_loop().time()
    ids = await place_many(shop, product, email, 40, lambda _: None)

    async def twenty_seconds_have_passed() -> bool:
        return asyncio.get_running_loop().time() - paused_at >= 20

    await until(twenty_seconds_have_passed, 60, "the outage has lasted 20 s")
    await fleet.run("resume", "mailbox")
    await wait_for_confirmations(shop, email, ids, seconds=60)


async def test_invalid_message_is_dead_lettered_and_next_mail_is_sent(
    shop: Shop,
) -> None:
    """Promise 25, in the fleet."""
    poison = f"not json {secrets.token_hex(8)}".encode()
    await shop.publish_raw("order-placed", poison)
    product, email = await shop.stock(10), new_email("poison")
    order = (await shop.place((product, 1), email=email)).json()
    await shop.confirmed_by_mail([order], seconds=60)

    async def dead_lettered() -> bool:
        return poison in await shop.dead_letters("order-placed")

    await until(dead_lettered, 30, "the poison is on order-placed.dlq")
