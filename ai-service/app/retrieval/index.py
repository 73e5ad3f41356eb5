"""Immutable search index over a list of products."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, partial
from itertools import zip_longest

import bm25s  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA

from app.retrieval.language import Languages
from app.retrieval.query_parser import ParsedQuery
from app.retrieval.text_normalisation import Vocabulary
from app.schemas.product import Product
from chassis.search.analysis import fold, split

Scores = NDArray[np.float32]

_RELATED_WEIGHT = 0.35  # of a word that is related to a word of the query
_MODIFIER_WEIGHT = 0.5  # of a colour, a size, a mood
_MIN_TYPO_LENGTH = 4  # shorter words are not corrected
_MIN_TYPO_SIMILARITY = 0.72  # normalised similarity, 0 to 1
_MIN_SCORE_SHARE = 0.4  # of the best hit's score; hits below are dropped
_SAME_CATEGORY_FACTOR = 1.15
_SOLD_OUT_FACTOR = 0.7
_FIELD_WEIGHTS = (("name", 3), ("tags", 2), ("category", 1), ("description", 1))
_MIN_NAME_SIMILARITY = 0.85
CONFIDENT_COVERAGE = 0.5  # a hit that covers less of the query is only "the closest match"
_MIN_LIST_COVERAGE = 0.6  # one product may answer a list if it covers this and a word of each part
_SIMILAR_CACHE_SIZE = 200  # entries of about 8 kB
_NO_PRODUCTS = np.array([], dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Hit:
    """A product that matches the query.

    Attributes:
        coverage: share of the keywords that it contains, 0 to 1; rare words count more.
    """

    product: Product
    score: float
    coverage: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The result of a search.

    Attributes:
        parts: number of list items that have a hit; the first hits are one for each.
        complete: False if an item of the list has no hit within its price range.
        unknown: keywords that no product contains.
        nearest_price: if no match is within the price range, the price nearest to it.
    """

    hits: tuple[Hit, ...] = ()
    unknown: tuple[str, ...] = ()
    nearest_price: Decimal | None = None
    parts: int = 1
    complete: bool = True

    @property
    def products(self) -> tuple[Product, ...]:
        return tuple(hit.product for hit in self.hits)


@dataclass(frozen=True, slots=True)
class _Term:
    """A keyword with its exact (`terms`) and related (`soft`) terms of the index."""

    word: str
    terms: tuple[str, ...]
    soft: tuple[str, ...]
    required: bool
    rarity: float


class CatalogueIndex:
    """Search with BM25 (bm25s), typo correction, exclusions and price ranges.

    Args:
        products: in the order in which equally ranked products are returned.
    """

    def __init__(self, products: Sequence[Product], languages: Languages) -> None:
        self.products = tuple(products)
        self._languages = languages
        self._by_id = {product.id: number for number, product in enumerate(self.products)}
        self._cents = np.array([int(p.price * 100) for p in self.products], dtype=np.int64)
        self._categories = np.array([p.category for p in self.products], dtype=np.object_)
        self._in_stock = np.array([p.stock_quantity > 0 for p in self.products], dtype=bool)
        texts = [self._extract_terms(product) for product in self.products]
        self._postings = _postings(texts)
        named = [self._extract_terms(product, _FIELD_WEIGHTS[:-1]) for product in self.products]
        self._name_postings = _postings(named)
        self._bm25 = _bm25(texts) if self._postings else None
        self._surface = sorted({w for p in self.products for w in split(fold(_all_text(p)))})
        self._similar_cache: dict[tuple[str, int], list[Hit]] = {}
        self._names = [fold(product.name) for product in self.products]
        # Not a bound method: a reference cycle would keep a replaced index in memory.
        correct = partial(_correct, self._surface, self._postings, languages.vocabulary)
        self.correct = lru_cache(maxsize=2_000)(correct)

    def __len__(self) -> int:
        return len(self.products)

    @property
    def categories(self) -> list[str]:
        """Category names, the one with most products first."""
        counts: dict[str, int] = {}
        for product in self.products:
            counts[product.category] = counts.get(product.category, 0) + 1
        return sorted(counts, key=lambda name: (-counts[name], name))

    def get(self, product_id: str) -> Product | None:
        number = self._by_id.get(product_id)
        return None if number is None else self.products[number]

    # -- search

    def search(self, query: ParsedQuery, limit: int) -> SearchResult:
        """Return the products that match a query, best first.

        If no single product matches a whole list ("a lamp and headphones"), each item is searched
        separately with its own price range, and the best product of each comes first.
        """
        whole = self._search_one(query, limit)
        things = [part for part in query.parts if self._is_thing(part)]
        if sum(map(self._is_known, things)) < 2 or self._fits_list(whole, query):
            return whole
        each = [self._search_one(part, limit).hits for part in things]
        confident = [hits for hits in each if hits and hits[0].coverage >= CONFIDENT_COVERAGE]
        if not confident:
            return whole
        hits = {
            hit.product.id: hit for row in zip_longest(*confident) for hit in row if hit is not None
        }
        return SearchResult(
            tuple(hits.values())[:limit],
            parts=len(confident),
            complete=len(confident) == len(things),
        )

    def _is_thing(self, query: ParsedQuery) -> bool:
        """Return True if the query has a keyword other than colours, sizes and moods."""
        return any(self._term(word).required for word in query.keywords)

    def _is_known(self, query: ParsedQuery) -> bool:
        """Return True if the catalogue has a keyword of the query that is not a modifier."""
        return any(
            term.required and self._languages.vocabulary.term(term.word) in self._postings
            for term in map(self._term, query.keywords)
        )

    def _fits_list(self, found: SearchResult, query: ParsedQuery) -> bool:
        """Return True if the best hit has a word of each part and most words of the query."""
        if not found.hits or found.hits[0].coverage < _MIN_LIST_COVERAGE:
            return False
        number = self._by_id[found.hits[0].product.id]
        terms = ([self._languages.vocabulary.term(w) for w in p.keywords] for p in query.parts)
        return all(
            any(number in self._postings.get(t, _NO_PRODUCTS) for t in part) for part in terms
        )

    def _search_one(self, query: ParsedQuery, limit: int) -> SearchResult:
        """Search one item. Every hit satisfies the price range and the exclusions."""
        if self._bm25 is None or query.price.impossible:
            return SearchResult()
        terms = [self._term(word) for word in query.keywords]
        unknown = tuple(term.word for term in terms if not term.terms and term.required)
        allowed = self._not_excluded(query)
        scores, matches = self._score(terms, strictly=bool(unknown))
        allowed &= matches
        priced = allowed & self._priced(query)
        if not priced.any():
            return SearchResult(unknown=unknown, nearest_price=self._nearest_price(allowed, query))
        ranked = self._rank(np.where(priced, scores, -1.0), terms, query)
        return SearchResult(tuple(ranked[:limit]), unknown)

    def _nearest_price(self, allowed: NDArray[np.bool_], query: ParsedQuery) -> Decimal | None:
        """Return the price nearest to the requested range among the otherwise matching products."""
        prices = [
            product.price for product, fits in zip(self.products, allowed, strict=True) if fits
        ]
        if not prices:
            return None
        return min(prices) if query.price.high is not None else max(prices)

    def _term(self, word: str) -> _Term:
        vocabulary = self._languages.vocabulary
        exact = vocabulary.term(word)
        hints = self._languages.hints.get(exact, frozenset())
        soft = tuple(hint for hint in sorted(hints) if hint in self._postings)
        terms: tuple[str, ...] = (exact,) if exact in self._postings else ()
        if not terms and not soft:
            terms = self.correct(word)
        modifier = exact in self._languages.modifiers or exact in self._languages.generic
        known = [self._postings[term] for term in (*terms, *soft)]
        postings = np.unique(np.concatenate(known)).size if known else 0
        rarity = math.log(1 + (len(self) - postings + 0.5) / (postings + 0.5))
        return _Term(word, terms or soft, soft if terms else (), not modifier, rarity)

    def _not_excluded(self, query: ParsedQuery) -> NDArray[np.bool_]:
        allowed = np.ones(len(self), dtype=bool)
        for group in query.exclusions:
            excluded = np.ones(len(self), dtype=bool)
            for word in group:
                has = np.zeros(len(self), dtype=bool)
                term = self._languages.vocabulary.term(word)
                for each in (term,) if term in self._postings else self.correct(word):
                    has[self._postings[each]] = True
                excluded &= has
            allowed &= ~excluded
        return allowed

    def _priced(self, query: ParsedQuery) -> NDArray[np.bool_]:
        low = math.ceil(query.price.low * 100) if query.price.low is not None else 0
        if query.price.high is None:
            return self._cents >= low
        high = min(int(query.price.high * 100), 2**62)
        return (self._cents >= low) & (self._cents <= high)

    def _score(self, terms: Sequence[_Term], strictly: bool) -> tuple[Scores, NDArray[np.bool_]]:
        """Return each product's score, and whether it contains any keyword.

        Args:
            strictly: ignore matches in the description only. "washing machine" must not find linen
                that is described as washed.
        """
        postings = self._name_postings if strictly else self._postings
        scores = np.zeros(len(self), dtype=np.float32)
        required = [term for term in terms if term.required]
        scored = required or [term for term in terms if term.terms]
        matches = np.zeros(len(self), dtype=bool) if scored else np.ones(len(self), dtype=bool)
        for term in scored:
            for each in (*term.terms, *term.soft):
                matches[postings.get(each, _NO_PRODUCTS)] = True
        assert self._bm25 is not None  # noqa: S101  checked by the caller
        for weight, names in _terms_by_weight(terms):
            if names:
                scores += weight * self._bm25.get_scores(names)
        scores *= np.where(self._in_stock, 1.0, _SOLD_OUT_FACTOR).astype(np.float32)
        return scores, matches

    def _rank(self, scores: Scores, terms: Sequence[_Term], query: ParsedQuery) -> list[Hit]:
        order = np.argsort(-scores, kind="stable")
        best = float(scores[order[0]])
        numbers = [int(n) for n in order if scores[n] >= max(0.0, best * _MIN_SCORE_SHARE)]
        coverage = self._coverage(terms)
        hits = [Hit(self.products[n], float(scores[n]), float(coverage[n])) for n in numbers]
        near = query.price.target
        if near is not None and not terms:
            return sorted(hits, key=lambda hit: abs(hit.product.price - near))
        if query.order == "best":
            return hits
        top = max(hit.coverage for hit in hits)
        hits = [hit for hit in hits if hit.coverage >= top - 0.01]
        # "The most expensive book" is in the category "Books", not an e-reader with the tag "book".
        keywords = {each for term in terms if term.required for each in term.terms}
        hits = [hit for hit in hits if keywords and keywords <= self._category(hit)] or hits
        return sorted(hits, key=lambda h: h.product.price, reverse=query.order == "dearest")

    def _category(self, hit: Hit) -> set[str]:
        return set(self._languages.vocabulary.extract_terms(hit.product.category))

    def _coverage(self, terms: Sequence[_Term]) -> Scores:
        """Return the share of the keywords that each product contains, 0 to 1."""
        covered = np.zeros(len(self), dtype=np.float32)
        for term in terms:
            has = np.zeros(len(self), dtype=np.float32)
            for each, part in [(t, _RELATED_WEIGHT) for t in term.soft] + [
                (t, 1.0) for t in term.terms
            ]:
                has[self._postings[each]] = part
            covered += term.rarity * has
        keywords = sum(term.rarity for term in terms)
        return covered / keywords if keywords else covered + 1.0

    # -- likeness

    def similar(self, product: Product, limit: int) -> Sequence[Hit]:
        """Return the other products most similar in words, category and price.

        Results for products of this index are cached, because most orders contain the same few.
        """
        if self.get(product.id) is not product:
            return self._similar(product, limit)
        key = product.id, limit
        if key not in self._similar_cache:
            if len(self._similar_cache) >= _SIMILAR_CACHE_SIZE:
                self._similar_cache.clear()
            self._similar_cache[key] = self._similar(product, limit)
        return self._similar_cache[key]

    def _similar(self, product: Product, limit: int) -> list[Hit]:
        number = self._by_id.get(product.id)
        if self._bm25 is None:
            return []
        words = f"{product.name} {' '.join(product.tags)} {product.category}"
        terms = list(dict.fromkeys(self._languages.vocabulary.extract_terms(words)))
        scores = self._bm25.get_scores([term for term in terms if term in self._postings] or [""])
        scores = np.asarray(scores, dtype=np.float32).copy()
        same = self._categories == product.category
        distance = np.abs(np.log((self._cents + 1) / (int(product.price * 100) + 1)))
        scores *= np.where(same, _SAME_CATEGORY_FACTOR, 1.0) / (1.0 + 0.2 * distance)
        if number is not None:
            scores[number] = 0.0
        best = float(scores.max(initial=0.0)) or 1.0
        order = np.argsort(-scores, kind="stable")[:limit]
        return [Hit(self.products[n], float(scores[n]) / best, 1.0) for n in order if scores[n] > 0]

    def find_by_name(self, name: str) -> list[Product]:
        """Return the products with that name, ignoring case, or else one with a similar name."""
        folded = fold(name).strip()
        exact = [p for p, known in zip(self.products, self._names, strict=True) if known == folded]
        if exact or not self._names:
            return exact
        near = process.extractOne(
            folded, self._names, scorer=OSA.normalized_similarity, score_cutoff=_MIN_NAME_SIMILARITY
        )
        return [self.products[near[2]]] if near else []

    def search_text(self, text: str, limit: int) -> tuple[Product, ...]:
        """Return products that share words with a text."""
        words = tuple(dict.fromkeys(split(fold(text))))
        return self.search(ParsedQuery(text, keywords=words), limit).products if words else ()

    def in_category(self, category: str) -> list[Product]:
        """Return the products of a category, ignoring case, accents and typos."""
        folded = {fold(name): name for name in self.categories}
        keywords = fold(category).strip()
        if keywords not in folded:
            near = process.extractOne(
                keywords,
                list(folded),
                scorer=OSA.normalized_similarity,
                score_cutoff=_MIN_TYPO_SIMILARITY,
            )
            if near is None:
                return []
            keywords = near[0]
        return [product for product in self.products if product.category == folded[keywords]]

    def find_mentioned(self, text: str, limit: int = 5) -> list[Product]:
        """Return the products whose full name is in a text, in order of occurrence."""
        folded = fold(text)
        places = {n: folded.find(name) for n, name in enumerate(self._names) if name in folded}
        return [self.products[n] for n in sorted(places, key=lambda n: places[n])][:limit]

    def _extract_terms(
        self, product: Product, fields: Sequence[tuple[str, int]] = _FIELD_WEIGHTS
    ) -> list[str]:
        terms: list[str] = []
        for name, weight in fields:
            value = getattr(product, name)
            text = value if isinstance(value, str) else " ".join(value)
            terms += self._languages.vocabulary.extract_terms(text) * weight
        return terms


def _correct(
    surface: Sequence[str], postings: Mapping[str, object], vocabulary: Vocabulary, word: str
) -> tuple[str, ...]:
    """Return the terms most similar to a misspelt word; all of them if several are equally similar.

    Args:
        surface: the catalogue's words before stemming.
        postings: the index, keyed by term.
    """
    if len(word) < _MIN_TYPO_LENGTH or not surface:
        return ()
    found = process.extract(
        word, surface, scorer=OSA.normalized_similarity, limit=4, score_cutoff=_MIN_TYPO_SIMILARITY
    )
    # Typos in the first letter are rare; without this rule "mouse" matches "house".
    near = [(text, score) for text, score, _ in found if text[0] == word[0] or score > 0.85]
    near = [(text, score) for text, score in near if len(text) >= _MIN_TYPO_LENGTH]
    if not near:
        return ()
    best = near[0][1]
    terms = (vocabulary.term(text) for text, score in near if score == best)
    return tuple(dict.fromkeys(term for term in terms if term in postings))


def _all_text(product: Product) -> str:
    return f"{product.name} {product.category} {' '.join(product.tags)} {product.description}"


def _postings(texts: Sequence[Iterable[str]]) -> dict[str, NDArray[np.int32]]:
    """Return the posting lists: for each term, the numbers of the products that contain it."""
    numbers: dict[str, list[int]] = {}
    for number, terms in enumerate(texts):
        for term in set(terms):
            numbers.setdefault(term, []).append(number)
    return {term: np.array(found, dtype=np.int32) for term, found in numbers.items()}


def _bm25(texts: list[list[str]]) -> bm25s.BM25:
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # bm25s sets its logger to DEBUG
    index = bm25s.BM25(k1=1.2, b=0.4)
    index.index(texts, show_progress=False)
    return index


def _terms_by_weight(terms: Sequence[_Term]) -> list[tuple[float, list[str]]]:
    """Group the terms by the weight of their scores."""
    plain = [each for term in terms if term.required for each in term.terms]
    modifiers = [each for term in terms if not term.required for each in term.terms]
    soft = [each for term in terms for each in term.soft]
    return [(1.0, plain), (_MODIFIER_WEIGHT, modifiers), (_RELATED_WEIGHT, soft)]
