"""Validation of products."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from app.models.product import Product
from app.schemas.product import NewProduct, ProductChanges, ProductView, product_view
from tests.conftest import NewBody

CHANGES = TypeAdapter(ProductChanges)

REFUSED: list[tuple[str, Any]] = [
    ("name", ""),
    ("name", "  "),
    ("name", "x" * 201),
    ("name", "two\nlines"),
    ("name", None),
    ("name", 7),
    ("name", "\ud800"),
    ("description", "x" * 5_001),
    ("description", "\0"),
    ("description", None),
    ("price", 0),
    ("price", Decimal(-1)),
    ("price", Decimal("1.005")),
    ("price", Decimal(10000000000)),
    ("price", Decimal("NaN")),
    ("price", "9.99"),
    ("price", True),
    ("price", None),
    ("category", " "),
    ("category", "x" * 101),
    ("tags", "lamp"),
    ("tags", ["x" * 51]),
    ("tags", [" "]),
    ("tags", [["nested"]]),
    ("tags", [{"$gt": ""}]),
    ("tags", [str(number) for number in range(21)]),
    ("tags", None),
    ("image_url", ""),
    ("image_url", "javascript:alert(1)"),
    ("image_url", "JaVaScRiPt:alert(1)"),
    ("image_url", " javascript:alert(1)"),
    ("image_url", "data:text/html,<script>"),
    ("image_url", "ftp://host/a.png"),
    ("image_url", "//elsewhere.example/a.png"),
    ("image_url", "/\\elsewhere.example"),
    ("image_url", "images/a.png"),
    ("image_url", "http://"),
    ("image_url", 'https://host/"><script>'),
    ("image_url", "https://host/a\nb"),
    ("image_url", "https://host/" + "x" * 2_000),
    ("stock_quantity", -1),
    ("stock_quantity", "5"),
    ("stock_quantity", True),
    ("stock_quantity", 1.5),
    ("stock_quantity", 10**30),
    ("stock_quantity", None),
    ("id", "665f1c2e9b1d4c3a2f8e7d60"),
    ("revision", 9),
    ("$set", {"price": 1}),
]


@pytest.mark.parametrize(("field", "value"), REFUSED)
def test_invalid_value_is_refused_on_create_and_change(
    body: NewBody, field: str, value: Any
) -> None:
    with pytest.raises(ValidationError):
        NewProduct.model_validate(body(**{field: value}))
    with pytest.raises(ValidationError):
        CHANGES.validate_python({field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "x" * 200),
        ("name", "Ünï 漢字 😀 <b>"),
        ("description", ""),
        ("description", "two\nlines\tand a tab"),
        ("price", Decimal("0.01")),
        ("price", Decimal("9999999999.99")),
        ("price", 20),
        ("tags", []),
        ("image_url", None),
        ("image_url", "https://cdn.example/a b".replace(" ", "%20")),
        ("image_url", "http://host:8080/ü.png?a=1#x"),
        ("image_url", "/api/products/images/a.svg"),
        ("image_url", "data:image/png;base64,AAAA"),
        ("image_url", "data:image/svg+xml;utf8,<svg a='b c'/>"),
        ("stock_quantity", 0),
    ],
)
def test_valid_value_is_unchanged(body: NewBody, field: str, value: Any) -> None:
    assert getattr(NewProduct.model_validate(body(**{field: value})), field) == value
    assert CHANGES.validate_python({field: value}) == {field: value}


def test_tags_are_trimmed_and_deduplicated(body: NewBody) -> None:
    new = NewProduct.model_validate(body(tags=[" lamp ", "oak", "lamp"]))
    assert new.tags == ["lamp", "oak"]


def test_only_tags_and_image_are_optional(body: NewBody) -> None:
    for field in ("tags", "image_url"):
        NewProduct.model_validate({k: v for k, v in body().items() if k != field})
    for field in ("name", "description", "price", "category", "stock_quantity"):
        with pytest.raises(ValidationError):
            NewProduct.model_validate({k: v for k, v in body().items() if k != field})


def test_change_contains_only_sent_fields() -> None:
    assert CHANGES.validate_python({}) == {}
    assert CHANGES.validate_python({"image_url": None}) == {"image_url": None}


def test_view_has_millisecond_times_and_numeric_price(body: NewBody) -> None:
    moment = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    new = NewProduct.model_validate(body(price=Decimal("9999999999.99")))
    product = Product(**new.model_dump(), created_at=moment, updated_at=moment)
    shown = ProductView.model_validate(product).model_dump_json()
    assert '"created_at":"2026-11-23T09:30:00.000Z"' in shown
    assert '"price":9999999999.99,' in shown
    assert "revision" not in shown


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tags": [], "image_url": None},
        {"price": Decimal("0.01"), "stock_quantity": 0},
        {"price": Decimal("9999999999.99"), "name": 'Zoë "北京" 🛒 </script>'},
        {"description": "Two\nlines\twith a tab"},
    ],
)
def test_unvalidated_response_equals_documented_view(
    body: NewBody, changes: dict[str, Any]
) -> None:
    moment = datetime(2026, 11, 23, 9, 30, 0, 125_000, tzinfo=UTC)
    new = NewProduct.model_validate(body(**changes))
    product = Product(**new.model_dump(), created_at=moment, updated_at=moment)
    documented = ProductView.model_validate(product).model_dump_json()
    assert json.loads(to_json(product_view(product))) == json.loads(documented)
