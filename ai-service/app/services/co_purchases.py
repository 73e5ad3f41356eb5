"""What is bought together: counts of pairs, within bounds. Ids of products only, nobody's name."""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from itertools import permutations

_ITEMS = 12  # of one order; one of a hundred things says little of any two
_PARTNERS = 40  # of one product
_KEPT = 20  # of these, once there are more than _PARTNERS


class BoughtTogether:
    """Learns from orders.

    Args:
        capacity: products; the one that was bought longest ago is forgotten first.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._partners: OrderedDict[str, Counter[str]] = OrderedDict()
        self._orders: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._partners)

    def learn(self, product_ids: Sequence[str]) -> None:
        """One order."""
        items = list(dict.fromkeys(product_ids))[:_ITEMS]
        for item in items:
            self._orders[item] += 1
            self._partners.setdefault(item, Counter())
            self._partners.move_to_end(item)
        for item, other in permutations(items, 2):
            partners = self._partners[item]
            partners[other] += 1
            if len(partners) > _PARTNERS:
                self._partners[item] = Counter(dict(partners.most_common(_KEPT)))
        while len(self._partners) > self._capacity:
            forgotten, _ = self._partners.popitem(last=False)
            del self._orders[forgotten]

    def forget(self) -> None:
        """Begin anew."""
        self._partners.clear()
        self._orders.clear()

    def partners(self, product_id: str) -> dict[str, int]:
        """Products that were in the same orders, and in how many."""
        return dict(self._partners.get(product_id, {}))

    def orders_of(self, product_id: str) -> int:
        """In how many orders a product was."""
        return self._orders[product_id]
