"""What goes with a product: what is like it, and what was bought together with it."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from app.retrieval.index import CatalogueIndex
from app.retrieval.text_normalisation import fold
from app.schemas.product import Product

_TOGETHER = 1.5  # the weight of the habit against that of likeness, which is at most 1
_DOUBT = 3.0  # so many orders say half of what endless ones would
_POOL = 60


class Habits(Protocol):
    def partners(self, product_id: str) -> dict[str, int]:
        """Products that were in the same orders, and in how many."""

    def orders_of(self, product_id: str) -> int:
        """In how many orders a product was."""


class Recommending:
    """Offline throughout: what was bought and what is alike are facts, no matter of wording."""

    def __init__(self, habits: Habits) -> None:
        self._habits = habits

    def recommend(
        self, index: CatalogueIndex, product_name: str | None, category: str | None, limit: int
    ) -> list[Product]:
        """Best first. Never a product of the name that was asked about."""
        pool = index.of_category(category) if category is not None else None
        if product_name is None:
            return self._popular(index.products if pool is None else pool)[:limit]
        asked = index.named(product_name)
        own = {fold(product_name).strip(), *(fold(product.name) for product in asked)}
        likely = self.fitting(index, asked) if asked else index.by_words(product_name, _POOL)
        ranked = list(likely)
        if not asked and pool is None:  # of a stranger little is known
            pool = list(index.products)
        allowed = None if category is None else {product.id for product in pool or ()}
        found = [p for p in ranked if allowed is None or p.id in allowed]
        if pool is not None:  # few are alike there: the popular ones fill up
            found += [p for p in self._popular(pool) if p not in found]
        return [product for product in found if fold(product.name) not in own][:limit]

    def fitting(self, index: CatalogueIndex, products: Sequence[Product]) -> list[Product]:
        """What fits to these together, best first; none of them is among it."""
        own = {product.id for product in products}
        scores: dict[str, float] = {}
        for product in products:
            for hit in index.similar(product, _POOL):
                scores[hit.product.id] = scores.get(hit.product.id, 0.0) + hit.score
            for partner, times in self._habits.partners(product.id).items():
                weight = _TOGETHER * times / (times + _DOUBT)
                scores[partner] = scores.get(partner, 0.0) + weight
        ranked = sorted(scores, key=lambda each: -scores[each])
        found = (index.get(each) for each in ranked if each not in own)
        return [product for product in found if product is not None]

    def bought_together(self, product_id: str, others: Iterable[str]) -> bool:
        """Whether a product was in an order with one of the others."""
        partners = self._habits.partners(product_id)
        return any(other in partners for other in others)

    def _popular(self, products: Iterable[Product]) -> list[Product]:
        def rank(product: Product) -> tuple[bool, int]:
            return product.stock_quantity <= 0, -self._habits.orders_of(product.id)

        return sorted(products, key=rank)
