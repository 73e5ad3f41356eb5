"""Orders from request to mail, and stock under concurrency, on the whole fleet."""

import asyncio
import json
from collections import Counter

from tests.fleet_under_test import ROOT, Fleet, Shop, load, new_email


async def test_order_is_confirmed_by_mail(shop: Shop) -> None:
    product = await shop.stock(5)
    email = new_email("walk")
    placed = await shop.place((product, 2), email=email)
    assert placed.status_code == 201
    assert placed.json()["status"] == "CONFIRMED"
    await shop.confirmed_by_mail([placed.json()], seconds=30)
    mailbox = shop.fleet.mailbox
    confirmation = f'to:{email} subject:"is confirmed"'
    mail = mailbox.message(mailbox.messages(confirmation)[0]["ID"])
    assert placed.json()["order_number"] in mail["Subject"]
    assert f"Thing {product}" in mail["Text"]
    assert "19.98" in mail["HTML"]
    headers = mailbox.headers(mail["ID"])
    assert headers["X-Event-Type"] == ["ORDER_PLACED"]
    assert headers["X-Event-Id"]


async def test_cancellation_is_mailed_and_returns_stock(shop: Shop) -> None:
    product = await shop.stock(5)
    email = new_email("cancel")
    order = (await shop.place((product, 2), email=email)).json()
    cancelled = await shop.http.patch(f"{shop.orders}/{order['id']}/cancel")
    assert cancelled.json()["status"] == "CANCELLED"
    assert await shop.remaining_stock(product) == 5

    def both_mails() -> bool:
        subjects = [mail["Subject"] for mail in shop.fleet.mailbox.messages(f"to:{email}")]
        return all(any(word in each for each in subjects) for word in ("confirmed", "cancelled"))

    async with asyncio.timeout(30):
        while not await asyncio.to_thread(both_mails):
            await asyncio.sleep(0.2)


async def test_stock_below_threshold_sends_one_alert(shop: Shop) -> None:
    product = await shop.stock(12)
    for _ in range(4):
        assert (await shop.place((product, 1), email=new_email("low"))).status_code == 201
    mailbox = shop.fleet.mailbox
    mailbox.wait_for(lambda message: f"Thing {product}" in message["Subject"])
    alerts = [m for m in mailbox.messages() if f"Thing {product}" in m["Subject"]]
    assert len(alerts) == 1


async def test_promise_1_two_hundred_concurrent_orders_sell_exactly_ten_pieces(shop: Shop) -> None:
    """Promise 1, with both services and their databases."""
    product = await shop.stock(10)
    email = new_email("rush")
    answers = await asyncio.gather(*(shop.place((product, 1), email=email) for _ in range(200)))
    codes = Counter(answer.status_code for answer in answers)
    assert codes[201] == 10, codes
    assert all(code in (201, 400, 503) for code in codes), codes
    orders = await shop.settled(email)
    assert sum(order["status"] == "CONFIRMED" for order in orders) == 10
    assert await shop.remaining_stock(product) == 0


async def test_promise_4_order_with_short_second_item_reserves_nothing(shop: Shop) -> None:
    """Promise 4: all items or none, also for concurrent orders."""
    plenty, scarce = await shop.stock(1_000), await shop.stock(3)
    email = new_email("short")
    pieces = ((plenty, 5), (scarce, 1))
    answers = await asyncio.gather(*(shop.place(*pieces, email=email) for _ in range(40)))
    bought = sum(answer.status_code == 201 for answer in answers)
    await shop.settled(email)
    assert bought == 3
    assert (await shop.remaining_stock(plenty), await shop.remaining_stock(scarce)) == (
        1_000 - 15,
        0,
    )


async def test_promise_5_fifty_reductions_with_same_key_reduce_once(shop: Shop) -> None:
    """Promise 5, over HTTP: one effect, one response."""
    product = await shop.stock(100)
    answers = await asyncio.gather(
        *(
            shop.http.patch(
                f"{shop.inventory}/{product}/reduce",
                json={"quantity": 3},
                headers={"Idempotency-Key": f"reduce-{product}"},
            )
            for _ in range(50)
        )
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert await shop.remaining_stock(product) == 97


async def test_order_is_readable_right_after_201(shop: Shop) -> None:
    product = await shop.stock(100)
    email = new_email("read")
    for _ in range(100):
        order = (await shop.place((product, 1), email=email)).json()
        assert (await shop.http.get(f"{shop.orders}/{order['id']}")).json() == order


async def test_seed_creates_forty_products_with_pictures_and_stock(
    fleet: Fleet, shop: Shop
) -> None:
    fleet("seed")
    fleet("seed")
    names = [product["name"] for product in load(ROOT / "local/fleet/tools/catalogue.json")]
    products = [product for product in await shop.catalogue() if product["name"] in names]
    assert sorted(product["name"] for product in products) == sorted(names)
    assert len(names) == 40
    for product in products:
        picture = await shop.http.get(fleet.url("product-service") + product["image_url"])
        assert picture.headers["content-type"].startswith("image/svg+xml")
        assert await shop.remaining_stock(product["id"]) > 0


def test_golden_samples_match_their_schemas() -> None:
    events = ROOT / "contracts" / "events"
    samples = sorted(path.name for path in events.glob("*.sample.json"))
    assert len(samples) == 4
    for name in samples:
        assert json.dumps(load(events / name))
        assert (events / name.replace(".sample.", ".schema.")).exists()
