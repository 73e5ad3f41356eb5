"""Fill the catalogue of product-service directly in its database.

It replaces tens of thousands of requests. product-service must not run meanwhile: it would follow
the insertions product by product.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from bson import Decimal128, ObjectId
from pymongo import MongoClient

from chassis.text_folding import fold_letters
from fleet.errors import FleetError
from fleet.tools.generated_catalogue import GeneratedProduct, generated

# With 1,000 the embedded server (SecantusDB 0.7.0b3) hangs after tens of thousands: it prunes its
# oplog within the transaction of the insertion, whose pages fill its cache.
_BATCH = 100
_MOST = 1_000_000

Document = dict[str, Any]


class CatalogueLoader:
    """Adds generated products to a catalogue with at least one product."""

    def __init__(self, mongo: str) -> None:
        self._products = MongoClient[Document](mongo)["product_db"]["products"]
        self._generated: Iterator[GeneratedProduct] = generated(_MOST)
        self._added_at = datetime.now(UTC) - timedelta(seconds=_MOST)

    def fill_up_to(self, size: int) -> None:
        """Add products until there are `size`."""
        sample = self._products.find_one({}) or {}
        missing = size - self._products.estimated_document_count()
        while missing > 0:
            batch = list(islice(self._generated, min(_BATCH, missing)))
            self._products.insert_many([self._document(one, sample) for one in batch])
            missing -= len(batch)

    def _document(self, product: GeneratedProduct, sample: Document) -> Document:
        self._added_at += timedelta(seconds=1)
        document = {
            "_id": ObjectId(),
            "revision": 1,
            "name": product.name,
            "description": product.description,
            "price": Decimal128(product.price),
            "category": product.category,
            "tags": list(product.tags),
            "image_url": None,
            "stock_quantity": product.stock_quantity,
            "created_at": self._added_at,
            "updated_at": self._added_at,
            "changed_at": self._added_at,
            "search": sample.get("search", {})
            | {"name": _folded(product.name), "category": _folded(product.category)},
        }
        if document.keys() != sample.keys():
            different = document.keys() ^ sample.keys()
            raise FleetError(f"product-service stores other fields: {sorted(different)}")
        return document


def _folded(text: str) -> str:
    return " ".join(fold_letters(text).split())
