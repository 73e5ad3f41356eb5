"""Pages of the list of products."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from bson import ObjectId
from bson.errors import InvalidId

from app.models.product import Product, aware
from app.models.search_query import SearchFilter, fold
from chassis.app.pagination import InvalidCursor, decode_cursor, encode_cursor
from chassis.field_types import MAX_MONEY


def _price(text: str) -> Decimal:
    price = Decimal(text)
    if not 0 <= price <= MAX_MONEY:  # NaN is refused too: comparing it raises an error
        raise ValueError("no price")
    return price


_CURSOR_TYPES: Mapping[str, Callable[[str], str | Decimal | datetime]] = {
    "price": _price,
    "name": str,
    "created_at": lambda text: aware(datetime.fromisoformat(text)),
}


@dataclass(frozen=True, slots=True)
class PageStart:
    """The last product of a page, after which the next page begins.

    Attributes:
        value: that product's value of the field by which the list is sorted.
    """

    value: str | Decimal | datetime
    product_id: ObjectId

    def encode(self) -> str:
        """Return an opaque text for a client."""
        value = self.value.isoformat() if isinstance(self.value, datetime) else str(self.value)
        return encode_cursor(value, str(self.product_id))

    @classmethod
    def decode(cls, cursor: str, sort: str) -> "PageStart":
        """Parse what `encode` returned for a list with this order.

        Raises:
            InvalidCursor: it is another text, or belongs to another order.
        """
        text, product_id = decode_cursor(cursor, 2)
        try:
            return cls(_CURSOR_TYPES[sort.removeprefix("-")](text), ObjectId(product_id))
        except (ValueError, ArithmeticError, InvalidId):
            raise InvalidCursor(InvalidCursor.example) from None


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Filter and order of a list.

    Attributes:
        sort: a field name, with `-` for descending.
        after: where the page begins; if given, `page` is ignored.
    """

    filter: SearchFilter = field(default_factory=SearchFilter)
    sort: str = "-created_at"
    page: int = 1
    page_size: int = 10
    after: PageStart | None = None

    def start_of_next(self, last: Product) -> PageStart:
        """Return the start of the page that follows a page with this last product."""
        name = self.sort.removeprefix("-")
        return PageStart(fold(last.name) if name == "name" else getattr(last, name), last.id)
