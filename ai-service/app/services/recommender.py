"""Recommend products by similarity and by co-purchases."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from app.retrieval.index import CatalogueIndex
from app.schemas.product import Product
from chassis.search.analysis import fold

_CO_PURCHASE_WEIGHT = 1.5  # relative to similarity, which is at most 1
_HALF_WEIGHT_ORDERS = 3.0  # number of common orders that give half of the weight
_CANDIDATE_LIMIT = 60


class CoPurchaseCounts(Protocol):
    def partners(self, product_id: str) -> dict[str, int]:
        """Return the products ordered together with this one, with the number of orders."""

    def order_count(self, product_id: str) -> int:
        """Return the number of orders that contain the product."""


class Recommender:
    """Rank products from facts: similarity and co-purchases. A model is never used."""

    def __init__(self, co_purchases: CoPurchaseCounts) -> None:
        self._co_purchases = co_purchases

    def recommend(
        self, index: CatalogueIndex, product_name: str | None, category: str | None, limit: int
    ) -> list[Product]:
        """Return recommendations, best first, without products of the given name."""
        pool = index.in_category(category) if category is not None else None
        if product_name is None:
            return self._popular(index.products if pool is None else pool)[:limit]
        named = index.find_by_name(product_name)
        own = {fold(product_name).strip(), *(fold(product.name) for product in named)}
        if named:
            ranked = self.fitting(index, named)
        else:
            ranked = list(index.search_text(product_name, _CANDIDATE_LIMIT))
        if not named and pool is None:  # an unknown name gives few matches
            pool = list(index.products)
        allowed = None if category is None else {product.id for product in pool or ()}
        found = [p for p in ranked if allowed is None or p.id in allowed]
        if pool is not None:  # a category may have few similar products: append popular ones
            found += [p for p in self._popular(pool) if p not in found]
        return [product for product in found if fold(product.name) not in own][:limit]

    def fitting(self, index: CatalogueIndex, products: Sequence[Product]) -> list[Product]:
        """Return products that fit the given ones together, best first, without these."""
        own = {product.id for product in products}
        scores: dict[str, float] = {}
        for product in products:
            for hit in index.similar(product, _CANDIDATE_LIMIT):
                scores[hit.product.id] = scores.get(hit.product.id, 0.0) + hit.score
            for partner, times in self._co_purchases.partners(product.id).items():
                weight = _CO_PURCHASE_WEIGHT * times / (times + _HALF_WEIGHT_ORDERS)
                scores[partner] = scores.get(partner, 0.0) + weight
        ranked = sorted(scores, key=lambda each: -scores[each])
        found = (index.get(each) for each in ranked if each not in own)
        return [product for product in found if product is not None]

    def bought_together(self, product_id: str, others: Iterable[str]) -> bool:
        """Return True if a product was ordered together with one of the others."""
        partners = self._co_purchases.partners(product_id)
        return any(other in partners for other in others)

    def _popular(self, products: Iterable[Product]) -> list[Product]:
        def rank(product: Product) -> tuple[bool, int]:
            return product.stock_quantity <= 0, -self._co_purchases.order_count(product.id)

        return sorted(products, key=rank)
