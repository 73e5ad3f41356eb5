"""The answer of the assistant, from a model or from templates."""

from dataclasses import dataclass
from decimal import Decimal

from app.schemas.product import Product

OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply and the products that it names.

    Attributes:
        source: the model's name, or `offline`.
    """

    text: str
    products: tuple[Product, ...] = ()
    source: str = OFFLINE


def money(amount: Decimal) -> str:
    """Format a price without a currency, because the catalogue has none."""
    return f"{amount:.2f}"


def priced(product: Product) -> str:
    return f"{one_line(product.name)} ({money(product.price)})"


def one_line(text: str) -> str:
    """Replace control characters and line breaks by single spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
