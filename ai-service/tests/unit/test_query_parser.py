"""Keywords, exclusions, language, intents and follow-up messages."""

import random
import time
from decimal import Decimal

import pytest

from app.retrieval.language import Languages
from app.retrieval.query_parser import QueryParser


@pytest.fixture(scope="module")
def parser(languages: Languages) -> QueryParser:
    return QueryParser(languages)


@pytest.mark.parametrize(
    ("text", "keywords", "exclusions"),
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
def test_exclusions_are_parsed(
    parser: QueryParser,
    text: str,
    keywords: set[str],
    exclusions: set[tuple[str, ...]],
) -> None:
    query = parser.parse(text)
    assert set(query.keywords) == keywords
    assert set(query.exclusions) == exclusions


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
def test_language_of_short_text_is_detected(parser: QueryParser, text: str, language: str) -> None:
    assert parser.parse(text).language == language


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
def test_intent_is_detected(parser: QueryParser, text: str, intent: str) -> None:
    assert intent in parser.parse(text).intents


def test_wish_to_order_a_product_is_not_an_order_question(parser: QueryParser) -> None:
    query = parser.parse("I would like to order a desk lamp")
    assert query.keywords == ("desk", "lamp")
    assert "order" not in query.intents


def test_message_without_product_takes_keywords_of_earlier_message(
    parser: QueryParser,
) -> None:
    query = parser.parse_conversation("and under 30?", ["a lamp, not red", "thanks"])
    assert (query.keywords, query.exclusions) == (("lamp",), (("red",),))
    assert query.price.high == 30


def test_message_with_product_ignores_earlier_messages(parser: QueryParser) -> None:
    query = parser.parse_conversation("a book under 20", ["a lamp, not red, under 50"])
    assert (query.keywords, query.exclusions, query.price.high) == (("book",), (), Decimal(20))


def test_short_message_keeps_language_of_conversation(
    parser: QueryParser,
) -> None:
    assert parser.parse_conversation("20 - 40", ["Ich suche ein Geschenk"]).language == "de"


def test_parsing_time_of_hostile_text_is_bounded(parser: QueryParser) -> None:
    """No pattern may backtrack exponentially (regular expression denial of service)."""
    chance = random.Random(3)
    pieces = ["between 1 and ", "not ", "under ", "1.", "€", "0" * 200, "no no ", " - ", "a" * 400]
    texts = ["".join(chance.choices(pieces, k=120))[:2_000] for _ in range(40)]
    texts += [piece * (2_000 // len(piece)) for piece in pieces]
    for text in texts:
        started = time.process_time()
        parser.parse(text)
        assert time.process_time() - started < 0.25, text[:60]
