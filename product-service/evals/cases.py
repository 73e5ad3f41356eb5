"""Queries with graded answers, over the demo catalogue and over a generated one.

A grade is 0 (wrong), 1 (related), 2 (acceptable) or 3 (what the query asks for). Queries over the
demo catalogue are graded by hand in cases.json, the others by the traits of the products.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

from bson import ObjectId

from app.models.product import Product
from fleet.tools.generated_catalogue import GeneratedProduct

HERE = Path(__file__).parent
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Case:
    """A query.

    Attributes:
        grades: by the number of the product in its catalogue; others have grade 0.
    """

    id: str
    kind: str
    text: str
    grades: Mapping[int, int] = field(default_factory=dict)


def demo_products() -> list[Product]:
    """Return the products that `make seed` creates."""
    seed = resources.files("fleet.tools").joinpath("catalogue.json").read_text("utf-8")
    rows: list[dict[str, Any]] = json.loads(seed, parse_float=Decimal)
    return [_product(number, Decimal(row.pop("price")), row) for number, row in enumerate(rows)]


def demo_cases(products: Sequence[Product]) -> list[Case]:
    numbers = {one.name: number for number, one in enumerate(products)}
    rows: list[dict[str, Any]] = json.loads((HERE / "cases.json").read_text("utf-8"))
    return [
        Case(**row | {"grades": {numbers[name]: grade for name, grade in row["grades"].items()}})
        for row in rows
    ]


def products_of(catalogue: Sequence[GeneratedProduct]) -> list[Product]:
    return [
        _product(
            number,
            one.price,
            {
                "name": one.name,
                "description": one.description,
                "category": one.category,
                "tags": list(one.tags),
                "stock_quantity": one.stock_quantity,
            },
        )
        for number, one in enumerate(catalogue)
    ]


def _product(number: int, price: Decimal, fields: dict[str, Any]) -> Product:
    at = NOON + timedelta(seconds=number)
    return Product(
        id=ObjectId(f"{number:024x}"), price=price, created_at=at, updated_at=at, **fields
    )
