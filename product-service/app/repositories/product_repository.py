"""The product repository: its interface and its MongoDB implementation."""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import pymongo
from bson import Decimal128, ObjectId
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from app.database import PRODUCTS, TOMBSTONES, Document, answering
from app.models.changes import Change, ChangePage, Position, RecentChanges
from app.models.page import PageRequest, PageStart
from app.models.product import ListPrice, Product, product_id_of
from app.models.search_query import SearchFilter, fold
from chassis.field_types import CENT
from chassis.request_coalescing import BatchLoader, QueryCoalescer

FOLDING = 3
"""The version of `fold`. Increase it with each change, so that the folded texts of stored products
are recomputed (`refold`)."""

_BATCH_SIZE = 1_000  # products per query
_FULL_READ_SECONDS = 300  # deadline for reading all products
_WITHOUT_SEARCH = {"search": False, "changed_at": False}
_DUPLICATE_KEY = 11_000
_PRICE_AND_NAME = {"price": True, "name": True}
_STORED_FIELDS = frozenset(one.name for one in fields(Product)) - {"id", "price"}
_SORT_FIELDS = {"price": "price", "name": "search.name", "created_at": "created_at"}
_PENDING = datetime(9999, 12, 31, tzinfo=UTC)  # `changed_at` of a tombstone before the deletion
_STAMP = {"$currentDate": {"changed_at": True}}  # the server's clock, the same for all replicas


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

    async def page(self, request: PageRequest) -> list[Product]:
        """Return one page."""

    async def count(self, chosen: SearchFilter) -> int:
        """Return the number of products that meet a filter."""

    def all(self) -> AsyncIterator[Product]:
        """Read all products, in the order of their ids."""

    async def following(self, product_id: ObjectId | None, limit: int) -> list[Product]:
        """Return the products after an id, in the order of their ids. None means the first."""

    async def imported(self, external_ids: Collection[str]) -> dict[str, Product]:
        """Return the products with these external ids.

        The external id of a product that was not imported is its own id.
        """

    async def write_many(self, products: Collection[Product]) -> set[ObjectId]:
        """Store new products and next revisions. Return the ids of those that are not stored.

        A new product is not stored if its external id is taken, and a next revision if the stored
        one is not its predecessor. Each product is stored as a whole or not at all.
        """

    async def latest(self) -> Position:
        """Return a position before all changes from now on."""

    async def changed_since(self, position: Position) -> RecentChanges:
        """Return what has changed since a position that `latest` returned. Misses no change."""

    async def close_tombstones(self) -> None:
        """Complete the deletions that were interrupted after the product was deleted."""

    async def changes(self, after: Position, limit: int) -> ChangePage:
        """Return the changes after a position, oldest first."""


class MongoProductRepository:
    """Products in one collection, tombstones of deleted products in a second one.

    With two collections instead of a `deleted_at` field, indexes, counts and queries of products
    need no filter.

    Args:
        timeout: seconds for an operation; for a read including the wait for coalesced reads.
    """

    def __init__(self, database: AsyncDatabase[Document], timeout: float) -> None:
        self._database = database
        self._products = database[PRODUCTS]
        self._tombstones = database[TOMBSTONES]
        self._timeout = timeout
        # A change is reported at this age. A write ends earlier, so none that was stamped before a
        # reported change becomes visible after it.
        self._hold_back = timedelta(seconds=timeout + 0.5)
        self._pages = QueryCoalescer(self._read_page)
        self._totals = QueryCoalescer(self._count)
        self._living = BatchLoader(self._read, _BATCH_SIZE)
        self._prices = BatchLoader(self._read_prices, _BATCH_SIZE)

    async def add(self, product: Product) -> None:
        with answering():
            await self._products.update_one(*_insertion(product), upsert=True)

    async def get(self, product_id: ObjectId) -> Product | None:
        return next(iter(await self.get_many([product_id])), None)

    async def get_many(self, product_ids: Sequence[ObjectId]) -> list[Product]:
        if not product_ids:
            return []
        with answering():
            found = await self._living.load(product_ids, self._timeout)
        return [_to_product(found[one]) for one in product_ids if one in found]

    async def replace(self, product: Product) -> bool:
        with answering():
            # Not find_one_and_update, which scans the collection on the embedded server.
            result = await self._products.update_one(*_revision(product))
        return result.matched_count == 1

    async def remove(self, product: Product, at: datetime) -> bool:
        # Tombstone first: a crash in between leaves an existing product, which a lookup prefers to
        # its tombstone, and never a deleted product without a tombstone. Until the product is
        # deleted, the time of the change is not known.
        one = {"_id": product.id}
        tombstone = {"name": product.name, "deleted_at": at}
        opened = {"$setOnInsert": tombstone, "$set": {"changed_at": _PENDING}}
        with answering():
            await self._tombstones.update_one(one, opened, upsert=True)
            result = await self._products.delete_one({**one, "revision": product.revision})
            if result.deleted_count == 1:
                await self._close_tombstone(product.id)
        return result.deleted_count == 1

    async def list_prices(
        self, product_ids: Collection[ObjectId]
    ) -> dict[ObjectId, ListPrice | None]:
        with answering():
            found = await self._prices.load(product_ids, self._timeout)
        return {one: _to_list_price(found[one]) for one in product_ids if one in found}

    async def page(self, request: PageRequest) -> list[Product]:
        with answering():
            return await self._pages.get(request, self._timeout)

    async def count(self, chosen: SearchFilter) -> int:
        with answering():
            return await self._totals.get(chosen, self._timeout)

    async def changed_since(self, position: Position) -> RecentChanges:
        chosen = {"changed_at": {"$gte": position.at}}
        stored = self._products.find(chosen, {"revision": True})
        deleted = self._tombstones.find(chosen, {"changed_at": True})
        with answering():
            # Products before tombstones, so that a product deleted in between is not missed.
            revisions = {one["_id"]: one["revision"] async for one in stored}
            tombstones = {one["_id"]: one["changed_at"] async for one in deleted}
            pending = {one for one, at in tombstones.items() if at == _PENDING}
            living = await self._read(pending) if pending else {}
        return RecentChanges(revisions, tombstones.keys() - living.keys())

    async def changes(self, after: Position, limit: int) -> ChangePage:
        with answering():
            until = await self._horizon()
            # Products before tombstones: a product that is deleted in between is in both, and its
            # tombstone has the later position.
            stored = await self._changed(self._products, after, until, limit)
            deleted = await self._changed(self._tombstones, after, until, limit)
        changes = [Change(_position(one), _to_product(one)) for one in stored]
        changes += [Change(_position(one), None) for one in deleted]
        changes.sort(key=lambda change: change.position)
        page = changes[:limit]
        return ChangePage(
            page, page[-1].position if page else after, complete=len(changes) <= limit
        )

    async def all(self) -> AsyncIterator[Product]:
        cursor = self._products.find({}, _WITHOUT_SEARCH, batch_size=_BATCH_SIZE).sort("_id", 1)
        with answering(), pymongo.timeout(_FULL_READ_SECONDS):
            async for document in cursor:
                yield _to_product(document)

    async def following(self, product_id: ObjectId | None, limit: int) -> list[Product]:
        chosen = {} if product_id is None else {"_id": {"$gt": product_id}}
        cursor = self._products.find(chosen, _WITHOUT_SEARCH).sort("_id", 1).limit(limit)
        with answering():
            return [_to_product(document) for document in await cursor.to_list()]

    async def imported(self, external_ids: Collection[str]) -> dict[str, Product]:
        wanted = {"external_id": {"$in": list(external_ids)}}
        with answering():
            documents = await self._products.find(wanted, _WITHOUT_SEARCH).to_list()
            found = {document["external_id"]: _to_product(document) for document in documents}
            ids = [product_id_of(one) for one in external_ids if one not in found]
            if others := [one for one in ids if one is not None]:
                for product_id, document in (await self._read(others)).items():
                    if "external_id" not in document:
                        found[str(product_id)] = _to_product(document)
        return found

    async def write_many(self, products: Collection[Product]) -> set[ObjectId]:
        operations = [_write(product) for product in products]
        with answering():
            try:
                result = await self._products.bulk_write(operations, ordered=False)
                if result.matched_count + result.upserted_count == len(products):
                    return set()
            except BulkWriteError as error:
                if any(one["code"] != _DUPLICATE_KEY for one in error.details["writeErrors"]):
                    raise
            # The counts do not say which: compare with what is stored.
            stored = await self._read([product.id for product in products])
        return {
            product.id
            for product in products
            if product.id not in stored or _to_product(stored[product.id]) != product
        }

    async def latest(self) -> Position:
        with answering():
            return Position(await self._horizon())

    async def _horizon(self) -> datetime:
        """Return the server's time minus the age at which a change is reported."""
        hello = await self._database.command("hello", codec_options=self._database.codec_options)
        server_time: datetime = hello["localTime"]
        return server_time - self._hold_back

    async def _changed(
        self, collection: AsyncCollection[Document], after: Position, until: datetime, limit: int
    ) -> list[Document]:
        """Return at most `limit` + 1 documents changed after a position and not after `until`."""
        # Two ranges of the index instead of $or, which the embedded server does not look up in it.
        ranges = (
            {"changed_at": after.at, "_id": {"$gt": after.product_id}},
            {"changed_at": {"$gt": after.at, "$lte": until}},
        )
        found: list[Document] = []
        for chosen in ranges:
            cursor = collection.find(chosen, {"search": False})
            cursor.sort([("changed_at", 1), ("_id", 1)]).limit(limit + 1 - len(found))
            found += await cursor.to_list()
            if len(found) > limit:
                break
        return found

    async def close_tombstones(self) -> None:
        pending = self._tombstones.find({"changed_at": _PENDING}, {"_id": True})
        with answering():
            opened = {one["_id"] for one in await pending.to_list()}
            living = await self._read(opened) if opened else {}
            for one in opened - living.keys():
                await self._close_tombstone(one)

    async def _close_tombstone(self, product_id: ObjectId) -> None:
        pending = {"_id": product_id, "changed_at": _PENDING}
        await self._tombstones.update_one(pending, _STAMP)

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

    async def _read_page(self, request: PageRequest) -> list[Product]:
        descending = request.sort.startswith("-")
        name = _SORT_FIELDS[request.sort.removeprefix("-")]
        # _id breaks ties, so that every product is on exactly one page.
        order = [(name, -1 if descending else 1), ("_id", -1 if descending else 1)]
        documents: list[Document] = []
        for chosen in _ranges(_filter(request.filter), name, descending, request.after):
            cursor = self._products.find(chosen, _WITHOUT_SEARCH).sort(order)
            if request.after is None:
                cursor.skip((request.page - 1) * request.page_size)
            cursor.limit(request.page_size - len(documents))
            documents += await cursor.to_list()
            if len(documents) == request.page_size:
                break
        return [_to_product(document) for document in documents]

    async def _count(self, chosen: SearchFilter) -> int:
        return await self._products.count_documents(_filter(chosen))


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
        # The stamp makes products of a version without `changed_at` part of the list of changes.
        await products.update_one(same, {"$set": {"search": _search(product)}, **_STAMP})
    tombstones = database[TOMBSTONES]
    async for document in tombstones.find({"changed_at": None}, {"_id": True}):
        await tombstones.update_one({"_id": document["_id"]}, _STAMP)


def _any_of(product_ids: Iterable[ObjectId]) -> Document:
    return {"_id": {"$in": list(product_ids)}}


def _position(document: Mapping[str, Any]) -> Position:
    return Position(document["changed_at"], document["_id"])


def _filter(wanted: SearchFilter) -> Document:
    price: Document = {}
    if wanted.min_price is not None:
        price["$gte"] = Decimal128(wanted.min_price)
    if wanted.max_price is not None:
        # Below the next cent instead of $lte. The embedded server (SecantusDB 0.7.0b3) leaves out
        # products at the bound of $lte when it reads the index of category and price.
        price["$lt"] = Decimal128(wanted.max_price + CENT)
    chosen: Document = {"price": price} if price else {}
    if wanted.category is not None:
        chosen["search.category"] = fold(wanted.category)
    if wanted.in_stock is not None:
        chosen["stock_quantity"] = {"$gt": 0} if wanted.in_stock else 0
    return chosen


def _ranges(
    chosen: Document, name: str, descending: bool, after: PageStart | None
) -> Iterable[Document]:
    """Return the filters of the queries that together give a page.

    Two ranges of an index instead of $or, which the embedded server does not look up in it.

    Args:
        name: the field by which the list is sorted.
    """
    if after is None:
        return [chosen]
    value = Decimal128(after.value) if isinstance(after.value, Decimal) else after.value
    beyond = "$lt" if descending else "$gt"
    equal = {**chosen, "_id": {beyond: after.product_id}}
    conditions = chosen.get(name, {})
    if name == "price" and conditions:
        equal["$and"] = [{name: conditions}]
    equal[name] = value
    return [equal, {**chosen, name: _narrowed(conditions, beyond, value)}]


def _narrowed(conditions: Document, beyond: str, value: Any) -> Document:
    """Return the conditions of a range with one of its bounds moved to `value`."""
    moved = ("$gt", "$gte") if beyond == "$gt" else ("$lt", "$lte")
    return {**{key: bound for key, bound in conditions.items() if key not in moved}, beyond: value}


def _to_fields(product: Product) -> Document:
    """Return the stored document without its id."""
    # Absent, not null: the index of external ids is sparse.
    external = {} if product.external_id is None else {"external_id": product.external_id}
    return {
        **external,
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


def _insertion(product: Product) -> tuple[Document, Document]:
    """Return filter and change of the upsert that stores a new product.

    An upsert, because an insertion cannot use the server's clock.
    """
    return {"_id": product.id}, {"$setOnInsert": _to_fields(product), **_STAMP}


def _revision(product: Product) -> tuple[Document, Document]:
    """Return filter and change of the update that stores the next revision of a product."""
    guard = {"_id": product.id, "revision": product.revision - 1}
    return guard, {"$set": _to_fields(product), **_STAMP}


def _write(product: Product) -> UpdateOne:
    """Return the operation that stores a new product or a next revision."""
    if product.revision == 1:
        return UpdateOne(*_insertion(product), upsert=True)
    return UpdateOne(*_revision(product))


def _search(product: Product) -> Document:
    """Return the folded fields that filters and orders use, stored with each revision."""
    return {
        "name": fold(product.name),
        "category": fold(product.category),
        "folding": FOLDING,
    }


def _to_product(document: Mapping[str, Any]) -> Product:
    stored = {name: document[name] for name in _STORED_FIELDS if name in document}
    return Product(id=document["_id"], price=document["price"].to_decimal(), **stored)


def _to_list_price(document: Mapping[str, Any] | None) -> ListPrice | None:
    if document is None:
        return None
    return ListPrice(document["price"].to_decimal(), document["name"])
