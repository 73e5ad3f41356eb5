"""Value types: visible text, canonical ids, integers of JSON."""

from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from chassis.field_types import (
    Identifier,
    MultilineText,
    Quantity,
    Text,
    VisibleMultilineText,
    VisibleText,
    canonical_id,
)

TYPES = (Text, VisibleText, MultilineText, VisibleMultilineText)
INVISIBLE = [
    *(" ", "\u00a0", "\u3000", "\u2028", "\u0085", "\u00ad", "\u200b", "\u2060", "\ufeff"),
    *("\u3164", "\u115f", "\u1160", "\uffa0", "\u2800", "\u034f", "\ufe0f", "\u180e", "\u061c"),
    *("\U000e0041", "\U000e0100", "\U0001d159", "\U0001d173", "\u0301", "\u20e3", "\u200b \ufe0f"),
]
VISIBLE = ["x", "日", "\u00e9", "e\u0301", "a\u200bb", "👩\u200d🚀", "❤\ufe0f", "مرحبا", "-", "€"]


def accepts(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("kind", TYPES)
def test_text_without_a_visible_character_is_refused(kind: Any) -> None:
    assert [text for text in INVISIBLE if accepts(kind, text)] == []
    assert [text for text in VISIBLE if not accepts(kind, text)] == []


def test_empty_text_is_accepted_if_visible_text_is_not_required() -> None:
    assert [accepts(kind, "") for kind in TYPES] == [True, False, True, False]


def test_published_patterns_use_only_portable_regular_expressions() -> None:
    for kind in TYPES:
        pattern = TypeAdapter(kind).json_schema()["pattern"]
        assert "\\p" not in pattern
        assert "\\u" not in pattern


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("sku-1", "sku-1"),
        ("SKU-1", "SKU-1"),
        ("sku-1 ", "sku-1"),
        ("\u00a0sku-1\u3000", "sku-1"),
        ("s\u200bku\u00ad-1\ufe0f", "sku-1"),
        ("caf\u0065\u0301", "caf\u00e9"),
        ("6568F0A1C2D3E4F5A6B7C8D9", "6568f0a1c2d3e4f5a6b7c8d9"),
        (" 6568F0A1C2D3E4F5A6B7C8D9\u2060", "6568f0a1c2d3e4f5a6b7c8d9"),
        ("two words", "two words"),
    ],
)
def test_canonical_id_is_the_same_for_each_spelling(text: str, form: str) -> None:
    assert canonical_id(text) == form
    assert canonical_id(form) == form
    assert TypeAdapter(Identifier).validate_python(text) == form


@pytest.mark.parametrize("text", ["", " ", "\u200b", "\u0958" * 100])
def test_canonical_id_without_1_to_100_characters_is_refused(text: str) -> None:
    """U+0958 has two characters in NFC."""
    with pytest.raises(ValueError, match="1 to 100"):
        canonical_id(text)
    assert not accepts(Identifier, text)


@pytest.mark.parametrize(
    ("value", "number"), [("2.0", 2), ("2e0", 2), ("1.0E+2", 100), ("2.000000000", 2)]
)
def test_whole_number_with_a_zero_fraction_is_an_integer(value: str, number: int) -> None:
    for read in (Decimal(value), float(value)):
        found = TypeAdapter(Quantity).validate_python(read)
        assert (found, type(found)) == (number, int)


@pytest.mark.parametrize(
    "value",
    [
        *("2", "2.0", True, None, [2]),
        *(
            Decimal("2.5"),
            Decimal("1e400"),
            Decimal("1e999999999"),
            Decimal("-0.0"),
            Decimal("1e7"),
        ),
        *(2.5, float("inf"), float("nan"), Decimal("2.0000000000000000000000001")),
    ],
)
def test_value_outside_the_range_of_integers_is_refused(value: object) -> None:
    assert not accepts(Quantity, value)


def test_schema_of_a_quantity_is_an_integer_with_bounds() -> None:
    schema = TypeAdapter(Annotated[Quantity, Field(examples=[2])]).json_schema()
    assert schema == {
        "type": "integer",
        "exclusiveMinimum": 0,
        "maximum": 1_000_000,
        "examples": [2],
    }
