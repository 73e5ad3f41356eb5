"""Operations of the catalogue, independent of HTTP and the database."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bson import ObjectId

from app.errors import CatalogueUnavailable, ProductNotFound
from app.models.product import Listing, ListPrice, Product, now, product_id_like
from app.models.search import SearchQuery, rank
from app.repositories.product_repository import PageRequest, ProductRepository
from app.schemas.product import NewProduct, ProductChanges
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


class ProductService:
    def __init__(self, repository: ProductRepository, clock: Callable[[], datetime] = now) -> None:
        self._repository = repository
        self._now = clock

    async def create(self, new: NewProduct) -> Product:
        moment = self._now()
        product = Product(**new.model_dump(), created_at=moment, updated_at=moment)
        await self._repository.add(product)
        return product

    async def read(self, product_id: ObjectId) -> Product:
        product = await self._repository.get(product_id)
        if product is None:
            raise ProductNotFound(f"There is no product {product_id}.")
        return product

    async def browse(self, request: PageRequest) -> ProductPage:
        products, total = await self._repository.page(request)
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
                return product
        raise CatalogueUnavailable(_CONTENDED)

    async def listings(self, texts: Sequence[str]) -> list[Listing]:
        """Return the listing of each id in order; invalid ids are `unknown`."""
        ids = {text: product_id_like(text) for text in texts}
        known = {product_id for product_id in ids.values() if product_id is not None}
        prices = await self._repository.list_prices(known) if known else {}
        return [_listing(text, product_id, prices) for text, product_id in ids.items()]

    async def search(self, text: str, limit: int) -> list[Product]:
        """Return the best matches for all words of `text`, or for any if no product has all."""
        query = SearchQuery.parse(text)
        if not query.words:  # only accents
            return []
        found = {entry.id: entry for entry in await self._repository.named(query)}
        # Products with the words in other fields rank lower, so a full page is complete.
        if len(found) < limit:
            everywhere = await self._repository.mentioning(query.words, every=True)
            found |= {entry.id: entry for entry in everywhere}
        if not found and len(query.words) > 1:
            partly = await self._repository.mentioning(query.words, every=False)
            found = {entry.id: entry for entry in partly}
        return await self._repository.get_many(rank(query, found.values())[:limit])


def _listing(
    text: str, product_id: ObjectId | None, prices: Mapping[ObjectId, ListPrice | None]
) -> Listing:
    if product_id is None or product_id not in prices:
        return Listing(text, "unknown")
    known = prices[product_id]
    if known is None:
        return Listing(text, "deleted")
    return Listing(text, "listed", known.price, known.name)
