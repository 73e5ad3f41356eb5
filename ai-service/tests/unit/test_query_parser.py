"""What is wanted, what is not, in which language, and what a message leaves open."""

import random
import time
from decimal import Decimal

import pytest

from app.retrieval.language import Languages
from app.retrieval.query_parser import Understanding


@pytest.fixture(scope="module")
def understanding(languages: Languages) -> Understanding:
    return Understanding(languages)


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("a scarf, not red", {"scarf"}, {("red",)}),
        ("coffee without a grinder", {"coffee"}, {("grinder",)}),
        ("toys, but no wood or plastic", {"toys"}, {("wood",), ("plastic",)}),
        ("nothing with wool", set(), {("wool",)}),
        ("a lamp that is not too expensive", {"lamp"}, set()),
        ("not sure, maybe a lamp", {"lamp"}, set()),
        ("no, a tent", {"tent"}, set()),
        ("ein Buch, aber kein Roman", {"book"}, {("novel",)}),
        ("un cadeau sans laine", {"gift"}, {("wool",)}),
        ("un juguete que no sea de madera", {"toy"}, {("wood",)}),
        ("un regalo, ma non un libro", {"gift"}, {("book",)}),
    ],
)
def test_what_is_not_wanted_is_understood(
    understanding: Understanding,
    text: str,
    wanted: set[str],
    unwanted: set[tuple[str, ...]],
) -> None:
    wish = understanding.read(text)
    assert set(wish.wanted) == wanted
    assert set(wish.unwanted) == unwanted


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("warm socks", "en"),
        ("cheap pan", "en"),
        ("puzzle 1000 pieces", "en"),
        ("ein Geschenk für meine Mutter", "de"),
        ("Schreibtischlampe", "de"),
        ("un cadeau pour ma mère", "fr"),
        ("un regalo para mi madre", "es"),
        ("un regalo per mia madre", "it"),
        ("プレゼント", "en"),
        ("", "en"),
    ],
)
def test_the_language_is_told_from_few_words(
    understanding: Understanding, text: str, language: str
) -> None:
    assert understanding.read(text).language == language


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Hello!", "greeting"),
        ("Guten Tag", "greeting"),
        ("where is my order?", "order"),
        ("Wo ist meine Bestellung?", "order"),
        ("où est ma commande ?", "order"),
        ("¿dónde está mi pedido?", "order"),
        ("dov'è il mio ordine?", "order"),
        ("how long does shipping take", "delivery"),
        ("can I get a refund", "returns"),
        ("do you take PayPal?", "payment"),
        ("what can you do?", "help"),
    ],
)
def test_an_intent_is_understood(understanding: Understanding, text: str, intent: str) -> None:
    assert intent in understanding.read(text).intents


def test_ordering_a_thing_is_no_question_about_an_order(understanding: Understanding) -> None:
    wish = understanding.read("I would like to order a desk lamp")
    assert wish.wanted == ("desk", "lamp")
    assert "order" not in wish.intents


def test_what_a_message_leaves_open_comes_from_an_earlier_one(
    understanding: Understanding,
) -> None:
    wish = understanding.converse("and under 30?", ["a lamp, not red", "thanks"])
    assert (wish.wanted, wish.unwanted) == (("lamp",), (("red",),))
    assert wish.price.high == 30


def test_a_new_wish_does_not_drag_the_old_one_along(understanding: Understanding) -> None:
    wish = understanding.converse("a book under 20", ["a lamp, not red, under 50"])
    assert (wish.wanted, wish.unwanted, wish.price.high) == (("book",), (), Decimal(20))


def test_a_short_message_keeps_the_language_of_the_conversation(
    understanding: Understanding,
) -> None:
    assert understanding.converse("20 - 40", ["Ich suche ein Geschenk"]).language == "de"


def test_no_text_takes_long_to_read(understanding: Understanding) -> None:
    """No pattern backtracks: a service that can be stopped by one message is none."""
    chance = random.Random(3)
    pieces = ["between 1 and ", "not ", "under ", "1.", "€", "0" * 200, "no no ", " - ", "a" * 400]
    texts = ["".join(chance.choices(pieces, k=120))[:2_000] for _ in range(40)]
    texts += [piece * (2_000 // len(piece)) for piece in pieces]
    for text in texts:
        began = time.perf_counter()
        understanding.read(text)
        assert time.perf_counter() - began < 0.25, text[:60]
