"""The product repository: its interface and its MongoDB implementation."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from bson import Decimal128, ObjectId
from pymongo.asynchronous.database import AsyncDatabase

from app.database import PRODUCTS, TOMBSTONES, Document, answering
from app.models.product import ListPrice, Product
from app.models.search import FOLDING, SearchEntry, SearchQuery, fold, whole_words
from app.repositories.term_index import TermIndex
from chassis.field_types import CENT
from chassis.request_coalescing import BatchLoader, QueryCoalescer

# More than any page of results, so that no good match is cut off; few enough to be ranked in
# milliseconds.
NAMED = 200
MENTIONED = 1_000
_MANY_TERMS = 500
_BATCH_SIZE = 1_000  # products per query
_LAST = "\U0010ffff"
_WITHOUT_SEARCH = {"search": False}
_PRICE_AND_NAME = {"price": True, "name": True}
_SORT_FIELDS = {"price": "price", "name": "search.name", "created_at": "created_at"}


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Filters and order of a list. `sort` is a field name, with `-` for descending."""

    page: int = 1
    page_size: int = 10
    category: str | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None
    sort: str = "-created_at"


class ProductRepository(Protocol):
    async def add(self, product: Product) -> None: ...

    async def get(self, product_id: ObjectId) -> Product | None: ...

    async def get_many(self, product_ids: Sequence[ObjectId]) -> list[Product]:
        """Return the existing products in the order of the ids."""

    async def replace(self, product: Product) -> bool:
        """Store the next revision. Return False if the stored revision is not its predecessor."""

    async def remove(self, product: Product, at: datetime) -> bool:
        """Delete this revision and write a tombstone. Return False if it is not the stored one."""

    async def list_prices(
        self, product_ids: Collection[ObjectId]
    ) -> dict[ObjectId, ListPrice | None]:
        """Return price and name of each listed product, and None for each deleted one."""

    async def page(self, request: PageRequest) -> tuple[list[Product], int]:
        """Return one page and the total number of products."""

    async def named(self, query: SearchQuery) -> list[SearchEntry]:
        """Return products whose name begins with the phrase or has all its whole words."""

    async def mentioning(self, words: Sequence[str], *, every: bool) -> list[SearchEntry]:
        """Return products whose name, category or tags contain every word, or any of them."""


class MongoProductRepository:
    """Products in one collection, tombstones of deleted products in a second one.

    With two collections instead of a `deleted_at` field, indexes, counts and queries of products
    need no filter.

    Args:
        timeout: seconds for a read, including the wait for coalesced reads.
    """

    def __init__(self, database: AsyncDatabase[Document], timeout: float) -> None:
        self._products = database[PRODUCTS]
        self._tombstones = database[TOMBSTONES]
        self._timeout = timeout
        self._pages = QueryCoalescer(self._read_page)
        self._totals = QueryCoalescer(self._count)
        self._terms = TermIndex(self._read_terms, timeout)
        self._living = BatchLoader(self._read, _BATCH_SIZE)
        self._prices = BatchLoader(self._read_prices, _BATCH_SIZE)

    async def add(self, product: Product) -> None:
        document = _to_document(product)
        with answering():
            await self._products.insert_one(document)
        self._terms.add(document["search"]["terms"])

    async def get(self, product_id: ObjectId) -> Product | None:
        return next(iter(await self.get_many([product_id])), None)

    async def get_many(self, product_ids: Sequence[ObjectId]) -> list[Product]:
        if not product_ids:
            return []
        with answering():
            found = await self._living.load(product_ids, self._timeout)
        return [_to_product(found[one]) for one in product_ids if one in found]

    async def replace(self, product: Product) -> bool:
        # Not find_one_and_update, which scans the collection on the embedded server.
        guard = {"_id": product.id, "revision": product.revision - 1}
        document = _to_document(product)
        with answering():
            result = await self._products.replace_one(guard, document)
        self._terms.add(document["search"]["terms"])
        return result.matched_count == 1

    async def remove(self, product: Product, at: datetime) -> bool:
        # Tombstone first: a crash in between leaves an existing product, which a lookup prefers to
        # its tombstone, and never a deleted product without a tombstone.
        tombstone = {"name": product.name, "deleted_at": at}
        one = {"_id": product.id}
        guard = {**one, "revision": product.revision}
        with answering():
            await self._tombstones.update_one(one, {"$setOnInsert": tombstone}, upsert=True)
            result = await self._products.delete_one(guard)
        return result.deleted_count == 1

    async def list_prices(
        self, product_ids: Collection[ObjectId]
    ) -> dict[ObjectId, ListPrice | None]:
        with answering():
            found = await self._prices.load(product_ids, self._timeout)
        return {one: _to_list_price(found[one]) for one in product_ids if one in found}

    async def page(self, request: PageRequest) -> tuple[list[Product], int]:
        with answering():
            return await self._pages.get(request, self._timeout)

    async def named(self, query: SearchQuery) -> list[SearchEntry]:
        # Range and equality, which use their index on every server; an anchored regex, $all and
        # several equalities do not on the embedded one.
        beginning = {"search.name": {"$gte": query.phrase, "$lt": query.phrase + _LAST}}
        longest = max(query.words, key=len)
        others = [word for word in query.words if word != longest]
        containing = {"search.words": longest, **_contain(others, every=True)}
        with answering():
            first = await self._entries(beginning, NAMED, sort="search.name")
            second = await self._entries(containing, MENTIONED)
        whole = (one for one in second if whole_words(one.name).issuperset(query.words))
        return list({entry.id: entry for entry in (*first, *whole)}.values())

    async def mentioning(self, words: Sequence[str], *, every: bool) -> list[SearchEntry]:
        with answering():
            return await self._entries(await self._mention(words, every=every), MENTIONED)

    async def _mention(self, words: Sequence[str], *, every: bool) -> Document:
        requested = [max(words, key=len)] if every else words
        terms = set().union(*[await self._terms.containing(word) for word in requested])
        others = [word for word in words if word not in requested]
        if len(terms) > _MANY_TERMS:  # nearly all products have one of them
            return _contain(words, every=every)
        return {"search.terms": {"$in": list(terms)}, **_contain(others, every=True)}

    async def _read(self, product_ids: Collection[ObjectId]) -> dict[ObjectId, Document]:
        """Return raw documents, so that an invalid one fails only the requests that need it."""
        cursor = self._products.find(_any_of(product_ids), _WITHOUT_SEARCH)
        return {document["_id"]: document for document in await cursor.to_list()}

    async def _read_prices(
        self, product_ids: Collection[ObjectId]
    ) -> dict[ObjectId, Document | None]:
        # Read products before tombstones: a missing product was deleted earlier, so its tombstone
        # exists. In the other order a product deleted in between would be found in neither.
        living = self._products.find(_any_of(product_ids), _PRICE_AND_NAME)
        prices: dict[ObjectId, Document | None] = {
            document["_id"]: document for document in await living.to_list()
        }
        if missing := [one for one in product_ids if one not in prices]:
            buried = self._tombstones.find(_any_of(missing), {"_id": True})
            prices |= {document["_id"]: None for document in await buried.to_list()}
        return prices

    async def _read_terms(self) -> list[str]:
        return await self._products.distinct("search.terms")

    async def _read_page(self, request: PageRequest) -> tuple[list[Product], int]:
        direction = -1 if request.sort.startswith("-") else 1
        field = _SORT_FIELDS[request.sort.removeprefix("-")]
        cursor = self._products.find(_filter(request), _WITHOUT_SEARCH)
        # _id breaks ties, so that every product is on exactly one page.
        cursor.sort([(field, direction), ("_id", direction)])
        cursor.skip((request.page - 1) * request.page_size).limit(request.page_size)
        products = [_to_product(document) for document in await cursor.to_list()]
        return products, await self._totals.get(_without_page(request), self._timeout)

    async def _count(self, request: PageRequest) -> int:
        return await self._products.count_documents(_filter(request))

    async def _entries(
        self, chosen: Document, limit: int, sort: str | None = None
    ) -> list[SearchEntry]:
        cursor = self._products.find(chosen, {"search.text": True}).limit(limit)
        if sort:
            cursor.sort(sort, 1)
        return [_to_entry(document) for document in await cursor.to_list()]


async def refold(database: AsyncDatabase[Document]) -> None:
    """Recompute search fields that an earlier version of `fold` has stored.

    Idempotent, and safe with several replicas. A concurrently edited product is skipped, because
    the edit stores its search fields.
    """
    products = database[PRODUCTS]
    outdated = {"search.folding": {"$ne": FOLDING}}
    async for document in products.find(outdated, _WITHOUT_SEARCH):
        product = _to_product(document)
        same = {"_id": product.id, "revision": product.revision}
        await products.update_one(same, {"$set": {"search": _search(product)}})


def _any_of(product_ids: Iterable[ObjectId]) -> Document:
    return {"_id": {"$in": list(product_ids)}}


def _without_page(request: PageRequest) -> PageRequest:
    """Return the request without the page, as the key for counting."""
    return replace(request, page=1, page_size=1, sort="-created_at")


def _filter(request: PageRequest) -> Document:
    price: Document = {}
    if request.min_price is not None:
        price["$gte"] = Decimal128(request.min_price)
    if request.max_price is not None:
        # Below the next cent instead of $lte. The embedded server (SecantusDB 0.7.0b3) leaves out
        # products at the bound of $lte when it reads the index of category and price.
        price["$lt"] = Decimal128(request.max_price + CENT)
    chosen: Document = {"price": price} if price else {}
    if request.category is not None:
        chosen["search.category"] = fold(request.category)
    return chosen


def _contain(words: Iterable[str], *, every: bool) -> Document:
    clauses = [{"search.text": {"$regex": re.escape(word)}} for word in words]
    if not clauses:
        return {}
    return {"$and" if every else "$or": clauses}


def _to_document(product: Product) -> Document:
    return {
        "_id": product.id,
        "revision": product.revision,
        "name": product.name,
        "description": product.description,
        "price": Decimal128(product.price),
        "category": product.category,
        "tags": product.tags,
        "image_url": product.image_url,
        "stock_quantity": product.stock_quantity,
        "created_at": product.created_at,
        "updated_at": product.updated_at,
        "search": _search(product),
    }


def _search(product: Product) -> Document:
    """Return the search fields derived from a product, stored with each revision."""
    name, category, *tags = map(fold, (product.name, product.category, *product.tags))
    return {
        "name": name,
        "category": category,
        "words": sorted(whole_words(name)),
        "terms": sorted(whole_words(" ".join([name, category, *tags]))),
        # Folded texts contain no line breaks, so these can separate the parts of `text`.
        "text": "\n".join([name, category, *tags]),
        "folding": FOLDING,
    }


def _to_product(document: Mapping[str, Any]) -> Product:
    fields = {**document, "price": document["price"].to_decimal()}
    return Product(id=fields.pop("_id"), **fields)


def _to_list_price(document: Mapping[str, Any] | None) -> ListPrice | None:
    if document is None:
        return None
    return ListPrice(document["price"].to_decimal(), document["name"])


def _to_entry(document: Mapping[str, Any]) -> SearchEntry:
    name, category, *tags = document["search"]["text"].split("\n")
    return SearchEntry(document["_id"], name, category, tuple(tags))
