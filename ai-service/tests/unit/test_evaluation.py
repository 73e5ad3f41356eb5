"""The evaluation set with template answers, and the scorer itself."""

from dataclasses import replace
from decimal import Decimal

import pytest
from evals.generated import queries
from evals.players import Player
from evals.scorer import Reply, cases, check, invented, play, score, table

from app.config import Settings
from app.schemas.product import Product


@pytest.fixture(scope="module")
def player() -> Player:
    return Player(Settings())


async def test_template_answers_meet_every_threshold(player: Player) -> None:
    results = await play(player.ask, cases(), player.catalogue, player.languages)
    print(table(results))  # pytest shows it when the test fails
    found = score(results)
    assert found.enough, found
    assert len(results) >= 60
    assert {result.reply.source for result in results} == {"offline"}


@pytest.mark.parametrize("group", ["lists", "ranges"])
async def test_every_case_of_group_passes(player: Player, group: str) -> None:
    chosen = [case for case in cases() if case["group"] == group]
    results = await play(player.ask, chosen, player.catalogue, player.languages)
    assert len(results) >= 8
    assert not [fault for result in results for fault in result.faults]


async def test_five_hundred_generated_queries_get_no_invented_answer(player: Player) -> None:
    requested = list(queries(500))
    assert len(set(requested)) > 400
    found = 0
    for query in requested:
        for kind in ("suggest", "chat"):
            reply = await player.ask({"kind": kind, "text": query})
            found += len(reply.products)
            assert not invented(reply.text, reply.products, player.catalogue, query), query
            assert all(product in player.catalogue for product in reply.products)
            assert all(product.name in reply.text for product in reply.products[:1])
    assert found > 300, "most queries must find products"


def test_case_ids_are_unique() -> None:
    ids = [case["id"] for case in cases()]
    assert len(ids) == len(set(ids))


def test_scorer_reports_each_kind_of_fault(player: Player) -> None:
    """Without this, a scorer that finds no faults would pass every evaluation."""
    lamp = player.index.find_by_name("Desk Lamp Halo")[0]
    ghost = Product.model_validate({**lamp.model_dump(), "name": "Ghost"})
    case = {
        "id": "x", "text": "a lamp under 60", "top3": ["Desk Lamp Halo"], "never": [],
        "max": 60, "min": 50, "reply_not": "free", "reply_has": "Lamp", "language": "en",
    }  # fmt: skip
    good = Reply("I found this: Desk Lamp Halo (69.00).", [lamp], "offline")
    limits = {"max": 70}

    def faults(reply: Reply, **changes: object) -> int:
        altered = {**case, **limits, **changes}
        return len(check(altered, reply, player.catalogue, player.languages).faults)

    assert faults(good) == 0
    assert faults(good, max=60) == 1
    assert faults(good, min=100) == 1
    assert faults(good, never=["Desk Lamp Halo"]) == 1
    assert faults(good, top3=["Wall Clock Birch"]) == 1
    assert faults(good, first="Wall Clock Birch") == 1
    assert faults(good, empty=True) == 1
    assert faults(good, language="de") == 1
    assert faults(replace(good, text="The Lamp is free with this one.")) == 1
    assert faults(replace(good, text="I found this.")) == 1
    assert faults(replace(good, text="Take Lamp Ghost (12.00), I found it.")) == 1
    assert faults(replace(good, text="I found this: Desk Lamp Halo (12.00).")) == 1
    assert faults(replace(good, products=[lamp, ghost])) == 1
    cheap = Product.model_validate({**lamp.model_dump(), "price": Decimal("1.00")})
    assert faults(replace(good, products=[cheap]), min=0) >= 1
