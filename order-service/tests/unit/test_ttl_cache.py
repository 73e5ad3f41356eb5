"""How long, and of how many products, the catalogue's word is remembered."""

from decimal import Decimal

from app.clients.product_client import Listing
from app.services.ttl_cache import Memory


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def listed(*prices: tuple[str, str]) -> dict[str, Listing]:
    return {
        product: Listing(product_id=product, state="listed", price=Decimal(price))
        for product, price in prices
    }


def memory(size: int = 10) -> tuple[Memory[Listing], Clock]:
    clock = Clock()
    return Memory(600, size, clock), clock


def test_a_price_counts_for_ten_minutes_from_when_it_was_asked_for() -> None:
    prices, clock = memory()
    told = listed(("p", "1"))
    prices.keep(told, asked_at=clock.now - 1)
    clock.now += 599
    assert prices.recall(["p", "q"]) == told
    clock.now += 0.001
    assert prices.recall(["p"]) == {}


def test_being_recalled_makes_a_price_no_younger() -> None:
    prices, clock = memory()
    prices.keep(listed(("p", "1")), clock.now)
    for _ in range(6):
        clock.now += 99
        assert prices.recall(["p"])
    clock.now += 99
    assert prices.recall(["p"]) == {}


def test_of_two_answers_the_one_to_the_later_question_counts_whichever_came_first() -> None:
    prices, clock = memory()
    old, new = listed(("p", "1")), listed(("p", "2"))
    prices.keep(new, asked_at=clock.now - 1)
    prices.keep(old, asked_at=clock.now - 2)
    assert prices.recall(["p"]) == new
    prices.keep(old, asked_at=clock.now)
    assert prices.recall(["p"]) == old


def test_when_it_is_full_the_price_that_was_asked_for_longest_ago_goes() -> None:
    prices, clock = memory(size=2)
    prices.keep(listed(("p", "1"), ("q", "1")), clock.now)
    prices.keep(listed(("p", "1")), clock.now + 1)
    prices.keep(listed(("r", "1")), clock.now + 2)
    assert prices.recall(["p", "q", "r"]).keys() == {"p", "r"}
