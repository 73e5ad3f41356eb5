"""Lists, search, suggestions and facets over all products.

Every method works in memory and takes about a millisecond, so the index needs no lock: it is used
by one event loop.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from bson import ObjectId
from numpy.typing import NDArray

from app.models.page import PageRequest, PageStart
from app.models.product import Product, milliseconds
from app.models.search_query import SearchFilter, SearchOrder, SearchQuery, fold, words_of
from app.search.product_columns import PRICE_BOUNDS, Mask, ProductColumns, name_start
from chassis.field_types import CENT
from chassis.search.inverted_index import InvertedIndex

Quality = NDArray[np.uint8]
Slots = NDArray[np.int64]

MAX_FACETS = 50
"""Categories and tags in an answer, those with most products."""

MAX_SUGGESTIONS = 10
_MAX_SUGGESTED_CATEGORIES = 3
_MAX_CACHED_FACETS = 256
_BITS = 20  # of the last part of a rank, the length; the score has twice as many


class Field(IntEnum):
    NAME = 0
    TAG = 1  # each tag as a whole
    CATEGORY = 2
    TAG_WORD = 3
    DESCRIPTION = 4
    FIRST = 5  # the first word of the name


class Match(IntEnum):
    """How a word of a product relates to a word of the query, the worst first."""

    SIMILAR = 0  # a spelling error
    PART = 1
    PREFIX = 2
    STEM = 3
    EXACT = 4


# Rows: fields in the order of Field; columns: kinds in the order of Match. A whole word of a tag is
# better than a part of a word of the name ("book" in "Bookshelf"). Part of a word in a description
# means nothing ("art" in "start").
_QUALITY = np.array(
    [
        [60, 61, 62, 96, 100],
        [24, 30, 32, 64, 66],
        [40, 50, 52, 58, 60],
        [24, 30, 32, 34, 36],
        [4, 0, 12, 18, 20],
    ],
    dtype=np.uint8,
)
_NAME_WORD = _QUALITY[Field.NAME, Match.STEM]
_EXACT_NAME_WORD = _QUALITY[Field.NAME, Match.EXACT]
_TEXT_FIELDS = (Field.NAME, Field.TAG, Field.CATEGORY, Field.TAG_WORD, Field.DESCRIPTION)


class Tier(IntEnum):
    """Quality of a match, the best one last."""

    SOME_WORDS = 0
    ALL_WORDS_SOMEWHERE = 1
    ALL_WORDS_IN_NAME = 2
    NAME_STARTS_WITH_QUERY = 3
    NAME_IS_QUERY = 4


@dataclass(frozen=True, slots=True)
class SearchHits:
    """A page of ids, best first, and the number of all hits."""

    product_ids: list[ObjectId]
    total: int


@dataclass(frozen=True, slots=True)
class Suggestion:
    text: str
    kind: Literal["category", "product"]
    product_id: ObjectId | None = None


@dataclass(frozen=True, slots=True)
class FacetCount:
    value: str
    count: int


@dataclass(frozen=True, slots=True)
class PriceRangeCount:
    """`from_price` is included, `below_price` is not; None means no upper bound."""

    from_price: int
    below_price: int | None
    count: int


@dataclass(frozen=True, slots=True)
class Facets:
    total: int
    categories: list[FacetCount]
    prices: list[PriceRangeCount]
    tags: list[FacetCount]
    in_stock: int
    sold_out: int


class SearchIndex:
    """An index of all products: their words, and the fields of filters and orders."""

    def __init__(self) -> None:
        self._words = InvertedIndex(len(Field))
        self._columns = ProductColumns()
        self._slots: dict[ObjectId, int] = {}
        self._cached_facets: dict[tuple[SearchQuery | None, SearchFilter], Facets] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def put(self, product: Product) -> None:
        """Add a product or replace its earlier revision. A later revision is kept."""
        slot = self._slots.get(product.id)
        if slot is not None:
            if self._columns.revision[slot] >= product.revision:
                return
            self.remove(product.id)
        self._cached_facets.clear()
        slot = self._slots[product.id] = self._columns.claim(product)
        self._words.add(slot, _indexed_words(product))

    def remove(self, product_id: ObjectId) -> None:
        """Remove a product. An unknown id is ignored."""
        slot = self._slots.pop(product_id, None)
        if slot is not None:
            self._cached_facets.clear()
            self._words.remove(slot)
            self._columns.release(slot)

    def revision(self, product_id: ObjectId) -> int:
        """Return the indexed revision of a product, 0 if there is none."""
        slot = self._slots.get(product_id)
        return 0 if slot is None else int(self._columns.revision[slot])

    def search(
        self,
        query: SearchQuery,
        chosen: SearchFilter | None = None,
        order: SearchOrder = "relevance",
        offset: int = 0,
        limit: int = 20,
    ) -> SearchHits:
        """Return the products with all words of the query, or with any if no product has all.

        A filter never changes which of the two applies, so that it only removes hits.
        """
        qualities, hits = self._matches(query)
        hits &= self._columns.matching(chosen or SearchFilter())
        slots = np.flatnonzero(hits)
        if order == "relevance":
            ranks = self._ranks(query, qualities, slots)
            ordered = self._ordered(slots, ranks, offset, limit, by_name=True)
        else:
            ordered = self._sorted(slots, order, offset, limit)
        return SearchHits([self._columns.ids[slot] for slot in ordered], len(slots))

    def page(self, request: PageRequest) -> SearchHits:
        """Return a page of the list of products."""
        slots = np.flatnonzero(self._columns.matching(request.filter))
        if request.after is None:
            offset = (request.page - 1) * request.page_size
            ordered = self._sorted(slots, request.sort, offset, request.page_size)
        else:
            later = self._after(request.after, request.sort, slots)
            ordered = self._sorted(later, request.sort, 0, request.page_size)
        return SearchHits([self._columns.ids[slot] for slot in ordered], len(slots))

    def suggest(self, text: str, limit: int = MAX_SUGGESTIONS) -> list[Suggestion]:
        """Complete a query that is being typed: its last word may be the beginning of a word."""
        query = SearchQuery.parse(text)
        if not query.words:
            return []
        categories = self._suggested_categories(query)
        names = self._suggested_names(query, limit)
        return [*categories, *names][:limit]

    def facets(self, query: SearchQuery | None, chosen: SearchFilter) -> Facets:
        """Count the hits of a query by category, price range, tag and stock.

        The counts of categories ignore the chosen category, and those of price ranges the chosen
        prices: they say what a shopper finds after choosing another one.
        """
        key = query, chosen
        if key not in self._cached_facets:
            if len(self._cached_facets) >= _MAX_CACHED_FACETS:
                self._cached_facets.clear()
            self._cached_facets[key] = self._facets(query, chosen)
        return self._cached_facets[key]

    def _facets(self, query: SearchQuery | None, chosen: SearchFilter) -> Facets:
        columns = self._columns
        hits = columns.used if query is None else self._matches(query)[1]
        chosen_hits = hits & columns.matching(chosen)
        any_category = hits & columns.matching(replace(chosen, category=None))
        any_price = hits & columns.matching(replace(chosen, min_price=None, max_price=None))
        total = int(np.count_nonzero(chosen_hits))
        in_stock = int(np.count_nonzero(chosen_hits & columns.in_stock))
        tags = columns.tag_numbers[np.flatnonzero(chosen_hits)].ravel()
        return Facets(
            total=total,
            categories=_counts(columns.category[any_category], columns.categories.texts),
            prices=_price_ranges(columns.price_range[any_price]),
            tags=_counts(tags[tags >= 0], columns.tags.texts),
            in_stock=in_stock,
            sold_out=total - in_stock,
        )

    # -- matching

    def _matches(self, query: SearchQuery) -> tuple[list[Quality], Mask]:
        """Return the quality of each product for each query word, and which products are hits."""
        qualities = [self._quality(word) for word in query.words]
        if not qualities:
            return [], np.zeros(self._columns.capacity, dtype=np.bool_)
        if len(qualities) > 1:  # the query may be a tag of several words
            for quality in qualities:
                self._raise_to(quality, Field.TAG, Match.EXACT, [query.phrase])
        found = np.stack(qualities) > 0
        every: Mask = np.all(found, axis=0)
        if len(qualities) == 1 or every.any():
            return qualities, every
        some: Mask = np.any(found, axis=0)
        return qualities, some

    def _quality(self, word: str) -> Quality:
        """Return for each slot how well its product matches one word of a query, 0 for no match."""
        quality: Quality = np.zeros(self._columns.capacity, dtype=np.uint8)
        for match, words in self._expansions(word):
            for field in _TEXT_FIELDS:
                self._raise_to(quality, field, match, words)
        return quality

    def _raise_to(self, quality: Quality, field: Field, match: Match, words: Iterable[str]) -> None:
        """Raise the quality of the products that have one of the words in a field."""
        value = _QUALITY[field, match]
        for word in words if value else ():
            slots = self._words.slots(field, word)
            if slots.size:
                quality[slots] = np.maximum(quality[slots], value)

    def _expansions(self, word: str) -> Iterator[tuple[Match, Iterable[str]]]:
        """Return the words of the catalogue that a query word may mean."""
        vocabulary = self._words.vocabulary
        exact, same_stem = word in vocabulary, vocabulary.with_stem(word)
        if not exact and not same_stem:
            yield Match.SIMILAR, vocabulary.similar(word)
        if any(map(str.isalnum, word)):  # a hyphen alone is a part of too many words
            yield Match.PART, vocabulary.containing(word)
            yield Match.PREFIX, vocabulary.starting_with(word)
        yield Match.STEM, same_stem
        if exact:
            yield Match.EXACT, (word,)

    # -- ranking

    def _ranks(
        self,
        query: SearchQuery,
        qualities: Sequence[Quality],
        slots: Slots,
        *,
        typing: bool = False,
    ) -> NDArray[np.int64]:
        """Return a number for each slot; a smaller one is a better match.

        Args:
            typing: the last word may be the beginning of a word.
        """
        if not qualities:
            return np.zeros(0, dtype=np.int64)
        each = np.stack([quality[slots] for quality in qualities]).astype(np.int64)
        tier = np.full(len(slots), Tier.ALL_WORDS_SOMEWHERE, dtype=np.int64)
        worst = each.min(axis=0)
        tier[worst == 0] = Tier.SOME_WORDS
        tier[worst >= _NAME_WORD] = Tier.ALL_WORDS_IN_NAME
        starts = self._names_start_with(query.phrase, slots)
        if not typing:
            # Whole words only: else "can" finds candles and canvas before a watering can.
            starts &= worst >= _EXACT_NAME_WORD
        tier[starts] = Tier.NAME_STARTS_WITH_QUERY
        length = self._columns.name_length[slots]
        tier[starts & (length == len(query.phrase))] = Tier.NAME_IS_QUERY
        found = np.count_nonzero(each, axis=0)
        score = (found << 12) + ((each > 0) * self._rarity(qualities)).sum(axis=0)
        score = (score << 12) + each.sum(axis=0)
        ranks: NDArray[np.int64] = -(((tier << 2 * _BITS) + score) << _BITS) + length
        return ranks

    def _rarity(self, qualities: Sequence[Quality]) -> NDArray[np.int64]:
        """Return a number for each word, at most 200: a rare word says more than a common one."""
        products = [np.count_nonzero(quality) for quality in qualities]
        weights = 10 * np.log2(1 + len(self) / np.maximum(products, 1))
        return weights.astype(np.int64)[:, np.newaxis]

    def _names_start_with(self, phrase: str, slots: Slots) -> Mask:
        """Return for each of the slots whether its name begins with the phrase."""
        mask: Mask = np.zeros(self._columns.capacity, dtype=np.bool_)
        first, _, rest = phrase.partition(" ")
        for word in [first] if rest else self._words.vocabulary.starting_with(first):
            mask[self._words.slots(Field.FIRST, word)] = True
        starts = mask[slots]
        if rest:
            names = self._columns.names
            for place in np.flatnonzero(starts):
                starts[place] = names[slots[place]].startswith(phrase)
        return starts

    def _sorted(self, slots: Slots, order: str, offset: int, limit: int) -> list[int]:
        """Return a page of slots in the order of a field; a descending order reverses ids too."""
        descending = order.startswith("-")
        values = self._sort_values(order, slots)
        return self._ordered(
            slots,
            -values if descending else values,
            offset,
            limit,
            by_name=order == "name",
            descending_ids=descending,
        )

    def _sort_values(self, order: str, slots: Slots) -> NDArray[np.int64]:
        """Return the values of the field by which a list is sorted; of names only their start."""
        columns = self._columns
        by_field = {
            "price": columns.cents,
            "created_at": columns.created,
            "name": columns.name_start,
        }
        return by_field[order.removeprefix("-")][slots]

    def _after(self, start: PageStart, order: str, slots: Slots) -> Slots:
        """Return the slots that come after the last product of a page."""
        columns, value = self._columns, start.value
        values = self._sort_values(order, slots)
        if isinstance(value, str):
            bound = name_start(value)
        else:
            bound = int(value / CENT) if isinstance(value, Decimal) else milliseconds(value)
        descending = order.startswith("-")
        later = values < bound if descending else values > bound
        for place in np.flatnonzero(values == bound):
            slot = slots[place]
            own = (columns.names[slot] if isinstance(value, str) else "", columns.ids[slot])
            last = (value if isinstance(value, str) else "", start.product_id)
            later[place] = own < last if descending else own > last
        return slots[later]

    def _ordered(
        self,
        slots: Slots,
        ranks: NDArray[np.int64],
        offset: int,
        limit: int,
        *,
        by_name: bool,
        descending_ids: bool = False,
    ) -> list[int]:
        """Return a page of slots, the smallest rank first.

        Only the slots of the page, and those with the same rank as its ends, are sorted.

        Args:
            by_name: equal ranks are ordered by name, and then by id.
        """
        if offset >= len(slots):
            return []
        skipped, end = 0, min(offset + limit, len(slots))
        if len(slots) > limit:
            parts = np.partition(ranks, [offset, end - 1])
            first, last = parts[offset], parts[end - 1]
            skipped = int(np.count_nonzero(ranks < first))
            near = (ranks >= first) & (ranks <= last)
            slots, ranks = slots[near], ranks[near]
        names, ids = self._columns.names, self._columns.ids
        chosen: list[int] = slots.tolist()
        chosen.sort(key=lambda slot: ids[slot], reverse=descending_ids)
        if by_name:
            chosen.sort(key=lambda slot: names[slot])
        rank_of = dict(zip(slots.tolist(), ranks.tolist(), strict=True))
        chosen.sort(key=lambda slot: rank_of[slot])
        return chosen[offset - skipped : end - skipped]

    # -- suggestions

    def _suggested_categories(self, query: SearchQuery) -> list[Suggestion]:
        columns = self._columns
        counts = np.bincount(
            columns.category[columns.used], minlength=len(columns.categories.texts)
        )
        fitting = [
            (-int(counts[number]), text)
            for number, text in enumerate(columns.categories.texts)
            if counts[number] and _begins_words(query.words, fold(text))
        ]
        texts = [text for _, text in sorted(fitting)[:_MAX_SUGGESTED_CATEGORIES]]
        return [Suggestion(text, "category") for text in texts]

    def _suggested_names(self, query: SearchQuery, limit: int) -> list[Suggestion]:
        *complete, last = query.words
        qualities = [self._name_quality(word, typing=False) for word in complete]
        qualities.append(self._name_quality(last, typing=True))
        hits = np.stack(qualities).all(axis=0) & self._columns.used
        slots = np.flatnonzero(hits)
        ranks = self._ranks(query, qualities, slots, typing=True)
        found: dict[str, Suggestion] = {}
        # Several products may have one name.
        for slot in self._ordered(slots, ranks, 0, 4 * limit, by_name=True):
            name = self._columns.names[slot]
            suggestion = Suggestion(
                self._columns.spellings[slot], "product", self._columns.ids[slot]
            )
            found.setdefault(name, suggestion)
        return list(found.values())[:limit]

    def _name_quality(self, word: str, *, typing: bool) -> Quality:
        quality: Quality = np.zeros(self._columns.capacity, dtype=np.uint8)
        vocabulary = self._words.vocabulary
        kinds: list[tuple[Match, Iterable[str]]] = [
            (Match.PREFIX, vocabulary.starting_with(word)),
            (Match.STEM, vocabulary.with_stem(word)),
            (Match.EXACT, (word,)),
        ]
        for match, words in kinds:
            self._raise_to(quality, Field.NAME, match, words)
        if not quality.any():
            similar = vocabulary.similar(word, prefix=typing)
            self._raise_to(quality, Field.NAME, Match.SIMILAR, similar)
        return quality


def _indexed_words(product: Product) -> list[set[str]]:
    """Return the words of each field, in the order of Field."""
    name = fold(product.name)
    return [
        words_of(name),
        set(map(fold, product.tags)),
        words_of(fold(product.category)),
        words_of(fold(" ".join(product.tags))),
        words_of(fold(product.description)),
        set(name.split(maxsplit=1)[:1]),
    ]


def _begins_words(words: Sequence[str], folded: str) -> bool:
    """Return whether each word is the beginning of a word of the text."""
    known = words_of(folded)
    return all(any(one.startswith(word) for one in known) for word in words)


def _counts(numbers: NDArray[np.integer[Any]], texts: Sequence[str]) -> list[FacetCount]:
    counts = np.bincount(numbers, minlength=len(texts))
    found = [(-int(counts[number]), texts[int(number)]) for number in np.flatnonzero(counts)]
    return [FacetCount(text, -negative) for negative, text in sorted(found)[:MAX_FACETS]]


def _price_ranges(ranges: NDArray[np.int64]) -> list[PriceRangeCount]:
    counts = np.bincount(ranges, minlength=len(PRICE_BOUNDS))
    uppers = (*PRICE_BOUNDS[1:], None)
    return [
        PriceRangeCount(lower, upper, int(count))
        for lower, upper, count in zip(PRICE_BOUNDS, uppers, counts, strict=True)
        if count
    ]
