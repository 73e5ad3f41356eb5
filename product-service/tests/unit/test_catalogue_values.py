"""Prices and texts of catalogue files."""

import time
from decimal import Decimal

import pytest

from app.catalogue_files.values import (
    MAX_TEXT,
    InvalidValue,
    one_line,
    paragraphs,
    parse_price,
    plain_text,
    require_text,
)


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12.5", "12.50"),
        ("12", "12.00"),
        (" 12.50 ", "12.50"),
        ("12.5000", "12.50"),
        ("1,299.00", "1299.00"),
        ("1,299", "1299.00"),
        ("1 299.00", "1299.00"),
        ("1\u00a0299.00", "1299.00"),
        ("1'299.00", "1299.00"),
        ("12,50", "12.50"),
        ("1.299,00", "1299.00"),
        ("1,234,567.89", "1234567.89"),
        ("$12.50", "12.50"),
        ("12.50 $", "12.50"),
        ("US$ 12.50", "12.50"),
        ("USD 12.50", "12.50"),
        ("12.50 usd", "12.50"),
        (Decimal("12.5"), "12.50"),
        (12, "12.00"),
        ("9007199254740993.10", "9007199254740993.10"),  # a float cannot hold it
    ],
)
def test_price_is_parsed_exactly(text: object, amount: str) -> None:
    parsed = parse_price(text, "USD")
    assert str(parsed) == amount


@pytest.mark.parametrize(
    "text",
    [
        *("", "free", "12.50.00", "1,29,9.00", "1.299.00", "12 50", "1e3", "NaN", "0x10", "--5"),
        *("12.5 6", "½", "١٢", "12.50 $ $ $", "$" * 50, "9" * 41, True, None, [12], {"price": 12}),
    ],
)
def test_text_that_is_no_price_is_refused(text: object) -> None:
    with pytest.raises(InvalidValue):
        parse_price(text, "USD")


@pytest.mark.parametrize("text", ["€ 10", "10 EUR", "EUR10", "£10", "10 zł", "CHF 10"])
def test_other_currency_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidValue, match="the shop's currency is USD"):
        parse_price(text, "USD")


@pytest.mark.parametrize("text", ["€ 10", "10 EUR", "10 eur", "10"])
def test_price_in_shop_currency_is_accepted(text: str) -> None:
    assert parse_price(text, "EUR") == 10


def test_price_with_three_decimals_is_not_rounded() -> None:
    assert parse_price("1.299", "USD") == Decimal("1.299")  # NewProduct refuses it


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("Walnut lamp", "Walnut lamp"),
        ("AT&T", "AT&T"),
        ("5 < 6 > 2", "5 < 6 > 2"),
        ("I <3 tea \u2615", "I <3 tea \u2615"),
        ("Caf&eacute; &#128512; &quot;Nord&quot;", 'Café \U0001f600 "Nord"'),
        ("Caf&amp;eacute;", "Café"),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("<p>One</p><p>two</p>", "One two"),
        ("One<br>two<BR/>three", "One two three"),
        ("<b>wal</b>nut", "walnut"),
        ("a<script>alert(1)</script><style>p {}</style>b", "ab"),
        ("a<!-- hidden -->b", "ab"),
        ('<img src=x onerror="alert(1)">lamp', "lamp"),
    ],
)
def test_markup_becomes_plain_text(markup: str, text: str) -> None:
    assert one_line(plain_text(markup)) == text


def test_paragraphs_keep_their_line_breaks() -> None:
    markup = "<div>\n  <p>One &nbsp; line</p>\n\n\n<ul><li>first</li><li>second</li></ul></div>"
    assert paragraphs(plain_text(markup)) == "One line\n\nfirst\n\nsecond"


@pytest.mark.parametrize(
    "part", ["<div>", "<p<", "<b>", "<table><td>", "<a b=", "&amp;", "<!--", "</p", "<svg><style>"]
)
def test_hostile_markup_takes_little_time(part: str) -> None:
    began = time.process_time()
    plain_text((part * MAX_TEXT)[:MAX_TEXT])
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("value", [None, 5, ["a"], "a\x00b", "a\udcffb", "x" * (MAX_TEXT + 1)])
def test_value_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidValue):
        require_text(value)
