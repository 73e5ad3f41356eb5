"""The demo catalogue: forty products that the product API accepts."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from importlib import resources

from fleet.tools.seed import catalogue, slug


def test_catalogue_has_40_products_with_unique_names() -> None:
    products = catalogue()
    assert len(products) == 40
    assert len({product["name"] for product in products}) == 40
    assert len({product["image_url"] for product in products}) == 40


def test_catalogue_has_eight_categories() -> None:
    assert set(Counter(product["category"] for product in catalogue()).values()) == {5}


def test_prices_have_two_decimals() -> None:
    text = resources.files("fleet.tools").joinpath("catalogue.json").read_text(encoding="utf-8")
    for product in json.loads(text, parse_float=Decimal):
        assert product["price"].as_tuple().exponent == -2, product["name"]
        assert product["price"] > 0


def test_every_product_has_tags_stock_and_picture() -> None:
    for product in catalogue():
        assert product["description"].endswith(".")
        assert len(set(product["tags"])) >= 2
        assert product["stock_quantity"] > 10  # above the low-stock threshold
        assert product["image_url"] == f"/api/products/images/{slug(product['name'])}.svg"


def test_slug_is_lower_case_ascii_with_hyphens() -> None:
    assert slug("Chef's Knife, 20 cm (Größe 2)") == "chef-s-knife-20-cm-gr-e-2"
