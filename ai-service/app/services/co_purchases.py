"""Bounded counts of product pairs that were ordered together. Stores product ids only."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import permutations

_MAX_ITEMS_PER_ORDER = 12  # an order of a hundred products says little about any pair
_MAX_PARTNERS = 40  # counted per product
_PARTNERS_AFTER_PRUNING = 20  # the most frequent ones


class CoPurchases:
    """Count co-purchases of products.

    Args:
        capacity: maximum number of products; the least recently ordered one is evicted first.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._partners: OrderedDict[str, Counter[str]] = OrderedDict()
        self._orders: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._partners)

    def add_order(self, product_ids: Sequence[str]) -> None:
        """Count the pairs of one order."""
        items = list(dict.fromkeys(product_ids))[:_MAX_ITEMS_PER_ORDER]
        for item in items:
            self._orders[item] += 1
            self._partners.setdefault(item, Counter())
            self._partners.move_to_end(item)
        for item, other in permutations(items, 2):
            partners = self._partners[item]
            partners[other] += 1
            if len(partners) > _MAX_PARTNERS:
                self._partners[item] = Counter(dict(partners.most_common(_PARTNERS_AFTER_PRUNING)))
        while len(self._partners) > self._capacity:
            evicted, _ = self._partners.popitem(last=False)
            del self._orders[evicted]

    def clear(self) -> None:
        """Remove all counts."""
        self._partners.clear()
        self._orders.clear()

    def partners(self, product_id: str) -> dict[str, int]:
        """Return the products ordered together with this one, with the number of orders."""
        return dict(self._partners.get(product_id, {}))

    def order_count(self, product_id: str) -> int:
        """Return the number of orders that contain the product."""
        return self._orders[product_id]
