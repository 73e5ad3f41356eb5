"""An order from curl to mail, and the stock under many hands, on the whole fleet."""

import asyncio
import json
from collections import Counter

from tests.fleet_under_test import ROOT, Fleet, Shop, load, new_email


async def test_an_order_becomes_a_mail(shop: Shop) -> None:
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


async def test_a_cancelled_order_is_mailed_and_its_stock_is_back(shop: Shop) -> None:
    product = await shop.stock(5)
    email = new_email("cancel")
    order = (await shop.place((product, 2), email=email)).json()
    cancelled = await shop.http.patch(f"{shop.orders}/{order['id']}/cancel")
    assert cancelled.json()["status"] == "CANCELLED"
    assert await shop.left(product) == 5

    def both() -> bool:
        subjects = [mail["Subject"] for mail in shop.fleet.mailbox.messages(f"to:{email}")]
        return all(any(word in each for each in subjects) for word in ("confirmed", "cancelled"))

    async with asyncio.timeout(30):
        while not await asyncio.to_thread(both):
            await asyncio.sleep(0.2)


async def test_falling_below_the_threshold_alerts_the_shop_once(shop: Shop) -> None:
    product = await shop.stock(12)
    for _ in range(4):
        assert (await shop.place((product, 1), email=new_email("low"))).status_code == 201
    mailbox = shop.fleet.mailbox
    mailbox.wait_for(lambda message: f"Thing {product}" in message["Subject"])
    alerts = [m for m in mailbox.messages() if f"Thing {product}" in m["Subject"]]
    assert len(alerts) == 1


async def test_promise_1_two_hundred_buyers_of_ten_pieces_buy_exactly_ten(shop: Shop) -> None:
    """Promise 1, through both services and two databases."""
    product = await shop.stock(10)
    email = new_email("rush")
    answers = await asyncio.gather(*(shop.place((product, 1), email=email) for _ in range(200)))
    codes = Counter(answer.status_code for answer in answers)
    assert codes[201] == 10, codes
    assert all(code in (201, 400, 503) for code in codes), codes
    orders = await shop.settled(email)
    assert sum(order["status"] == "CONFIRMED" for order in orders) == 10
    assert await shop.left(product) == 0


async def test_promise_4_an_order_whose_second_item_is_short_reserves_nothing(shop: Shop) -> None:
    """Promise 4: all or none, also when many such orders come at once."""
    plenty, scarce = await shop.stock(1_000), await shop.stock(3)
    email = new_email("short")
    pieces = ((plenty, 5), (scarce, 1))
    answers = await asyncio.gather(*(shop.place(*pieces, email=email) for _ in range(40)))
    bought = sum(answer.status_code == 201 for answer in answers)
    await shop.settled(email)
    assert bought == 3
    assert (await shop.left(plenty), await shop.left(scarce)) == (1_000 - 15, 0)


async def test_promise_5_the_same_reduction_fifty_times_is_one(shop: Shop) -> None:
    """Promise 5, over HTTP: one effect, one answer."""
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
    assert await shop.left(product) == 97


async def test_an_order_is_read_right_after_its_201_a_hundred_times(shop: Shop) -> None:
    product = await shop.stock(100)
    email = new_email("read")
    for _ in range(100):
        order = (await shop.place((product, 1), email=email)).json()
        assert (await shop.http.get(f"{shop.orders}/{order['id']}")).json() == order


async def test_the_seeded_catalogue_has_forty_products_with_pictures_and_stock(
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
        assert await shop.left(product["id"]) > 0


def test_the_golden_samples_are_json_that_schemas_describe() -> None:
    events = ROOT / "contracts" / "events"
    samples = sorted(path.name for path in events.glob("*.sample.json"))
    assert len(samples) == 4
    for name in samples:
        assert json.dumps(load(events / name))
        assert (events / name.replace(".sample.", ".schema.")).exists()
