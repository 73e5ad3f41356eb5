"""Operations of the catalogue, independent of HTTP and the database."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId

from app.errors import CatalogueUnavailable, ProductNotFound
from app.models.changes import ChangePage, Position
from app.models.page import PageRequest
from app.models.product import Listing, ListPrice, Product, now, product_id_like
from app.models.search_query import SearchFilter, SearchOrder, SearchQuery
from app.repositories.product_repository import ProductRepository
from app.schemas.product import NewProduct, ProductChanges
from app.search.index import Facets, SearchIndex, Suggestion
from app.services.index_updater import IndexUpdater
from chassis.app.conditional_requests import NO_PRECONDITIONS, Preconditions

# Each failed attempt means that another edit of the product was stored, so this many in a row
# indicate an attack or a fault.
_WRITE_ATTEMPTS = 50
_CONTENDED = "Too many concurrent edits of this product; try again."


@dataclass(frozen=True, slots=True)
class ProductPage:
    products: list[Product]
    total: int
    page: int
    page_size: int


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of search results; `total` is the number of all results."""

    products: list[Product]
    total: int


class ProductService:
    """All operations of the catalogue.

    Args:
        index: this process's search index.
        updater: fills the index; without one it is taken to be complete.
    """

    def __init__(
        self,
        repository: ProductRepository,
        index: SearchIndex,
        updater: IndexUpdater | None = None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        self._repository = repository
        self._index = index
        self._updater = updater
        self._now = clock

    async def create(self, new: NewProduct) -> Product:
        moment = self._now()
        product = Product(**new.model_dump(), created_at=moment, updated_at=moment)
        await self._repository.add(product)
        self._index.put(product)
        return product

    async def read(self, product_id: ObjectId) -> Product:
        product = await self._repository.get(product_id)
        if product is None:
            raise ProductNotFound(f"There is no product {product_id}.")
        return product

    async def browse(self, request: PageRequest) -> ProductPage:
        if self._updater is None or self._updater.loaded:
            await self._catch_up()
            hits = self._index.page(request)
            products, total = await self._repository.get_many(hits.product_ids), hits.total
        else:  # the database alone has all products; this costs more in a large catalogue
            products = await self._repository.page(request)
            total = await self._repository.count(request.filter)
        return ProductPage(products, total, request.page, request.page_size)

    async def edit(
        self,
        product_id: ObjectId,
        changes: ProductChanges,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> Product:
        """Apply changes. Concurrent edits of different fields are both kept.

        The preconditions are checked against the revision that the edit replaces. The replacement
        fails if that revision is no longer stored, and the next attempt checks the new one.

        Raises:
            ProductNotFound: it does not exist, or was deleted during the edit.
            PreconditionFailed: the current revision is not the one that the caller requires.
            CatalogueUnavailable: too many concurrent edits were stored first.
        """
        for _ in range(_WRITE_ATTEMPTS):
            product = await self.read(product_id)
            preconditions.require(product.entity_tag)
            if not changes:
                return product
            edited = product.edited(changes, self._now())
            if await self._repository.replace(edited):
                self._index.put(edited)
                return edited
        raise CatalogueUnavailable(_CONTENDED)

    async def delete(
        self, product_id: ObjectId, preconditions: Preconditions = NO_PRECONDITIONS
    ) -> Product:
        """Delete a product. One of several concurrent deletions succeeds.

        Checks the preconditions, and raises, as `edit` does.
        """
        for _ in range(_WRITE_ATTEMPTS):
            product = await self.read(product_id)
            preconditions.require(product.entity_tag)
            if await self._repository.remove(product, self._now()):
                self._index.remove(product.id)
                return product
        raise CatalogueUnavailable(_CONTENDED)

    async def listings(self, texts: Sequence[str]) -> list[Listing]:
        """Return the listing of each id in order; invalid ids are `unknown`."""
        ids = {text: product_id_like(text) for text in texts}
        known = {product_id for product_id in ids.values() if product_id is not None}
        prices = await self._repository.list_prices(known) if known else {}
        return [_listing(text, product_id, prices) for text, product_id in ids.items()]

    async def search(
        self,
        text: str,
        chosen: SearchFilter | None = None,
        order: SearchOrder = "relevance",
        page: int = 1,
        page_size: int = 20,
    ) -> SearchPage:
        """Return the products with all words of `text`, or with any if no product has all."""
        await self._wait_for_index()
        await self._catch_up()
        offset = (page - 1) * page_size
        hits = self._index.search(SearchQuery.parse(text), chosen, order, offset, page_size)
        return SearchPage(await self._repository.get_many(hits.product_ids), hits.total)

    async def suggest(self, text: str) -> list[Suggestion]:
        """Complete a query that is being typed."""
        await self._wait_for_index()
        return self._index.suggest(text)

    async def facets(self, text: str | None, chosen: SearchFilter) -> Facets:
        """Count the results of a search, or all products, by category, price, tag and stock."""
        await self._wait_for_index()
        return self._index.facets(None if text is None else SearchQuery.parse(text), chosen)

    async def changes(self, after: Position, limit: int) -> ChangePage:
        """Return the changes after a position, oldest first."""
        return await self._repository.changes(after, limit)

    async def no_changes(self) -> ChangePage:
        """Return an empty page at the present position."""
        return ChangePage([], await self._repository.latest(), complete=True)

    async def _catch_up(self) -> None:
        if self._updater is not None:
            await self._updater.catch_up()

    async def _wait_for_index(self) -> None:
        if self._updater is not None:
            await self._updater.wait()


def _listing(
    text: str, product_id: ObjectId | None, prices: Mapping[ObjectId, ListPrice | None]
) -> Listing:
    if product_id is None or product_id not in prices:
        return Listing(text, "unknown")
    known = prices[product_id]
    if known is None:
        return Listing(text, "deleted")
    return Listing(text, "listed", known.price, known.name)
