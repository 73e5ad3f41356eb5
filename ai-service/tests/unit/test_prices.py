"""Parsing of prices in five languages."""

from decimal import Decimal

import pytest

from app.retrieval.language import Languages
from app.retrieval.prices import amount
from app.retrieval.query_parser import QueryParser


@pytest.fixture(scope="module")
def parser(languages: Languages) -> QueryParser:
    return QueryParser(languages)


def _bound(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(str(value))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("a gift under 50", None, 50),
        ("a gift under $50.", None, 50),
        ("a gift under 49,90 €", None, 49.9),
        ("a sofa for less than 1,299.00", None, 1299),
        ("a sofa for less than 1.299,00 EUR", None, 1299),
        ("between 20 and 40", 20, 40),
        ("between 40 and 20", 20, 40),
        ("from 20 to 40 euros", 20, 40),
        ("20-40 euros", 20, 40),
        ("around 30", 24, 36),
        ("something for 20 to 25", 20, 25),
        ("20-25", 20, 25),
        ("25 - 20", 20, 25),
        ("20\u201325 euros", 20, 25),
        ("20\u201425", 20, 25),
        ("from 20 up to 25", 20, 25),
        ("a lamp, 20 to 25.50", 20, 25.5),
        ("20 till 25", 20, 25),
        ("etwas für 20 bis 25", 20, 25),
        ("quelque chose de 20 à 25", 20, 25),
        ("algo de 20 a 25", 20, 25),
        ("qualcosa da 20 a 25", 20, 25),
        ("up to fifty", None, 50),
        ("at least 100", 100, None),
        ("over 20 and under 60", 20, 60),
        ("50 or less", None, 50),
        ("30 euros or more", 30, None),
        ("not more than 15", None, 15),
        ("nothing over 80 please", None, 80),
        ("my budget is 40", None, 40),
        ("a lamp for 60 euros", None, 60),
        ("a 60 euro lamp", None, 60),
        ("CHF 25", None, 25),
        ("unter 30 Euro", None, 30),
        ("zwischen 20 und 40 Euro", 20, 40),
        ("ein Buch, höchstens 15", None, 15),
        ("mehr als 100 Euro für eine Lampe", 100, None),
        ("moins de 30 euros", None, 30),
        ("un livre entre 10 et 20 euros", 10, 20),
        ("un regalo por menos de 30 euros", None, 30),
        ("un libro entre 10 y 20", 10, 20),
        ("un libro sotto i 20 euro", None, 20),
        ("una lampada tra 20 e 40 euro", 20, 40),
    ],
)
def test_price_range_is_parsed(
    parser: QueryParser, text: str, low: float | None, high: float | None
) -> None:
    price = parser.parse(text).price
    assert (price.low, price.high) == (_bound(low), _bound(high))


@pytest.mark.parametrize(
    "text",
    [
        "a tent for 2 people",
        "a puzzle with 1000 pieces",
        "a board under 30 cm",
        "a bottle over 500 ml",
        "a game for 3-5 players",
        "toys from 3 years",
        "a 7-in-1 hub",
        "something for two",
        "toys for ages 10 to 14",
        "toys for 7 to 12",
        "socks, size 38-40",
        "a puzzle with 1000-1500 pieces",
        "ordered on 2026-11-30",
        "where is ORD-20261130-80673D6F18?",
        "dinner for 2",
        "a lamp",
    ],
)
def test_other_numbers_are_not_parsed_as_prices(parser: QueryParser, text: str) -> None:
    assert not parser.parse(text).price


def test_contradictory_price_range_is_impossible(parser: QueryParser) -> None:
    assert parser.parse("over 100 and under 50").price.impossible


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("49.9", "49.9"),
        ("1,299", "1299"),
        ("1.299,5", "1299.5"),
        ("1 299,00 €", "1299.00"),
        ("€50.-", "50"),
        ("9" * 40, "9" * 15),
    ],
)
def test_amount_is_parsed_in_common_formats(text: str, value: str) -> None:
    assert amount(text) == Decimal(value)
