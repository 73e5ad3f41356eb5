"""The evaluation of the search reaches its floors, and detects a worse ranking."""

import random
from collections.abc import Sequence

import pytest
from evals.cases import Case
from evals.generated import BEST, all_of, category, family, material, misspelt, noun, plural
from evals.scorer import (
    ALL,
    Ranker,
    Result,
    Set,
    below_floor,
    play,
    ranker_of,
    scores,
    sets,
    table,
)

from app.models.product import Product
from chassis.search.vocabulary import Vocabulary
from fleet.tools.generated_catalogue import Traits, generated

LAMP = Traits(
    noun="desk lamp",
    family="lamp",
    category="Home & Living",
    brand="Arbor",
    material="oak",
    accent="brass",
    colour="black",
    uses=("light",),
    feature="dimmable",
)


@pytest.fixture(scope="module")
def evaluated() -> list[Set]:
    return sets()


def test_every_kind_of_query_reaches_its_floor(evaluated: list[Set]) -> None:
    results = play(evaluated)
    print(table(results))  # pytest shows it when the test fails
    assert below_floor(scores(results)) == []


def test_queries_cover_every_kind(evaluated: list[Set]) -> None:
    cases = [case for one in evaluated for case in one.cases]
    assert len(cases) >= 300
    assert len({case.id for case in cases}) == len(cases)
    assert len({case.kind for case in cases}) == 21
    assert all(case.grades or case.kind == "nothing" for case in cases)
    demo, large = evaluated
    assert (len(demo.products), len(large.products)) == (40, 2_000)


def test_reversed_ranking_is_below_floor(evaluated: list[Set]) -> None:
    def reverse(products: Sequence[Product]) -> Ranker:
        rank = ranker_of(products, limit=len(products))
        return lambda text: rank(text)[::-1]

    low = below_floor(scores(play(evaluated, reverse)))
    assert {ALL, "one word", "category"} <= set(low)


def test_search_without_spelling_correction_is_below_floor(
    evaluated: list[Set], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Vocabulary, "similar", lambda *_, **__: ())
    low = below_floor(scores(play(evaluated)))
    assert {ALL, "one error", "two errors"} <= set(low)
    assert "attribute" not in low


def test_ndcg_compares_with_best_possible_order() -> None:
    case = Case("x", "words", "lamp", {1: 3, 2: 1})
    assert Result(case, [1, 2]).ndcg == 1
    assert Result(case, [2, 1]).ndcg == pytest.approx(
        (1 + 7 / 1.58496) / (7 + 1 / 1.58496), abs=1e-4
    )
    assert Result(case, []).ndcg == Result(case, [5]).ndcg == 0
    assert Result(case, [5, 6, 1]).success
    assert not Result(case, [5, 6, 2, 1]).success


def test_query_without_answer_succeeds_only_with_empty_result() -> None:
    case = Case("x", "nothing", "zeppelin")
    assert (Result(case, []).ndcg, Result(case, []).success) == (1, True)
    assert (Result(case, [1]).ndcg, Result(case, [1]).success) == (0, False)


def test_grades_follow_from_traits() -> None:
    assert all_of(material("oak"), noun("desk lamp"))(LAMP) == BEST
    assert all_of(material("brass"), family("lamp"))(LAMP) == 1
    assert all_of(material("steel"), family("lamp"))(LAMP) == 0
    assert noun("floor lamp")(LAMP) == 0
    assert (category("home & living")(LAMP), category("light")(LAMP)) == (3, 2)


def test_longer_catalogue_begins_with_shorter_one() -> None:
    assert list(generated(50)) == list(generated(80))[:50]
    assert list(generated(50)) != list(generated(50, seed=2))


@pytest.mark.parametrize(
    ("one", "many"),
    [("lamp", "lamps"), ("knife", "knives"), ("storage box", "storage boxes"), ("socks", "socks")],
)
def test_plural(one: str, many: str) -> None:
    assert plural(one) == many


def test_misspelt_word_keeps_its_first_letter() -> None:
    chance = random.Random(1)
    for _ in range(200):
        wrong = misspelt("keyboard", 1, chance)
        assert wrong[0] == "k"
        assert abs(len(wrong) - 8) <= 1
