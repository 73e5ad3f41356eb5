"""The catalogue as it can be searched. Built whole from a list of products, never changed."""

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
from app.retrieval.query_parser import Wish
from app.retrieval.text_normalisation import Vocabulary, fold, split
from app.schemas.product import Product

Scores = NDArray[np.float32]

_SOFT = 0.35  # the weight of a word that is only near to what was said
_MODIFIER = 0.5  # of a colour, a size, a mood
_TYPO_LENGTH = 4  # shorter words are not corrected
_TYPO_LIKE = 0.72  # of 1: how alike a word of the catalogue must be
_LEAST_SHARE = 0.4  # of the best hit's score; what is below is noise
_SAME_CATEGORY = 1.15
_SOLD_OUT = 0.7
_FIELD_WEIGHTS = (("name", 3), ("tags", 2), ("category", 1), ("description", 1))
_NAME_LIKE = 0.85
FIRM = 0.5  # of what was wanted: with less than this a hit is only the closest
_FITS_LIST = 0.6  # of a list's words: a product with these and a word of each part is meant
_REMEMBERED = 200  # products of which it is known what is like them; some 8 kB each
_NOBODY = np.array([], dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Hit:
    """A product that fits.

    Attributes:
        coverage: how much of what was wanted it has, from 0 to 1; rare words count more.
    """

    product: Product
    score: float
    coverage: float


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to a wish.

    Attributes:
        parts: how many things of a list the first hits stand for, one each.
        complete: false when one of a list's things was not found, or not at its price.
        unknown: wanted words of which no product has anything.
        nearest_price: nothing fits the price; what fits otherwise comes nearest to it at this.
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
    """One wanted word: its terms in the index, with the weights of their scores."""

    word: str
    terms: tuple[str, ...]
    soft: tuple[str, ...]
    required: bool
    rarity: float


class CatalogueIndex:
    """Searches by BM25 (bm25s), with typos, negation and prices.

    Args:
        products: in the order in which equals are shown.
    """

    def __init__(self, products: Sequence[Product], languages: Languages) -> None:
        self.products = tuple(products)
        self._languages = languages
        self._by_id = {product.id: number for number, product in enumerate(self.products)}
        self._cents = np.array([int(p.price * 100) for p in self.products], dtype=np.int64)
        self._categories = np.array([p.category for p in self.products], dtype=np.object_)
        self._in_stock = np.array([p.stock_quantity > 0 for p in self.products], dtype=bool)
        texts = [self._terms_of(product) for product in self.products]
        self._holders = _holders(texts)
        named = [self._terms_of(product, _FIELD_WEIGHTS[:-1]) for product in self.products]
        self._named_holders = _holders(named)
        self._bm25 = _bm25(texts) if self._holders else None
        self._surface = sorted({w for p in self.products for w in split(fold(_all_text(p)))})
        self._alike: dict[tuple[str, int], list[Hit]] = {}
        self._names = [fold(product.name) for product in self.products]
        # Not of this index itself: the circle would keep an old one in memory for a long time.
        correct = partial(_correct, self._surface, self._holders, languages.vocabulary)
        self.correct = lru_cache(maxsize=2_000)(correct)

    def __len__(self) -> int:
        return len(self.products)

    @property
    def categories(self) -> list[str]:
        """Those that hold most products first."""
        counts: dict[str, int] = {}
        for product in self.products:
            counts[product.category] = counts.get(product.category, 0) + 1
        return sorted(counts, key=lambda name: (-counts[name], name))

    def get(self, product_id: str) -> Product | None:
        number = self._by_id.get(product_id)
        return None if number is None else self.products[number]

    # -- search

    def search(self, wish: Wish, limit: int) -> Found:
        """Return the products that fit a wish, best first.

        Where no product fits a list as a whole, each of its things is searched by itself, with its
        own price; the best product for each comes first.
        """
        whole = self._search_one(wish, limit)
        things = [part for part in wish.parts if self._is_thing(part)]
        if sum(map(self._is_known, things)) < 2 or self._fits_list(whole, wish):
            return whole
        each = [self._search_one(part, limit).hits for part in things]
        firm = [hits for hits in each if hits and hits[0].coverage >= FIRM]
        if not firm:
            return whole
        hits = {hit.product.id: hit for row in zip_longest(*firm) for hit in row if hit is not None}
        return Found(
            tuple(hits.values())[:limit], parts=len(firm), complete=len(firm) == len(things)
        )

    def _is_thing(self, wish: Wish) -> bool:
        """Return whether a wish has more than colours, sizes and moods."""
        return any(self._term(word).required for word in wish.wanted)

    def _is_known(self, wish: Wish) -> bool:
        """Return whether a wish has a word of the catalogue that is no colour, size or mood."""
        return any(
            term.required and self._languages.vocabulary.term(term.word) in self._holders
            for term in map(self._term, wish.wanted)
        )

    def _fits_list(self, found: Found, wish: Wish) -> bool:
        """Return whether the best hit has something of each part, and most of the whole."""
        if not found.hits or found.hits[0].coverage < _FITS_LIST:
            return False
        number = self._by_id[found.hits[0].product.id]
        terms = ([self._languages.vocabulary.term(w) for w in p.wanted] for p in wish.parts)
        return all(any(number in self._holders.get(t, _NOBODY) for t in part) for part in terms)

    def _search_one(self, wish: Wish, limit: int) -> Found:
        """Return the products that fit one thing. Every constraint holds for every hit."""
        if self._bm25 is None or wish.price.impossible:
            return Found()
        terms = [self._term(word) for word in wish.wanted]
        unknown = tuple(term.word for term in terms if not term.terms and term.required)
        allowed = self._not_excluded(wish)
        scores, matches = self._score(terms, strictly=bool(unknown))
        allowed &= matches
        priced = allowed & self._priced(wish)
        if not priced.any():
            return Found(unknown=unknown, nearest_price=self._nearest_price(allowed, wish))
        ranked = self._rank(np.where(priced, scores, -1.0), terms, wish)
        return Found(tuple(ranked[:limit]), unknown)

    def _nearest_price(self, allowed: NDArray[np.bool_], wish: Wish) -> Decimal | None:
        """Of what fits but for its price, the one that is nearest to it."""
        prices = [
            product.price for product, fits in zip(self.products, allowed, strict=True) if fits
        ]
        if not prices:
            return None
        return min(prices) if wish.price.high is not None else max(prices)

    def _term(self, word: str) -> _Term:
        vocabulary = self._languages.vocabulary
        exact = vocabulary.term(word)
        hints = self._languages.hints.get(exact, frozenset())
        soft = tuple(hint for hint in sorted(hints) if hint in self._holders)
        terms: tuple[str, ...] = (exact,) if exact in self._holders else ()
        if not terms and not soft:
            terms = self.correct(word)
        modifier = exact in self._languages.modifiers or exact in self._languages.generic
        known = [self._holders[term] for term in (*terms, *soft)]
        holders = np.unique(np.concatenate(known)).size if known else 0
        rarity = math.log(1 + (len(self) - holders + 0.5) / (holders + 0.5))
        return _Term(word, terms or soft, soft if terms else (), not modifier, rarity)

    def _not_excluded(self, wish: Wish) -> NDArray[np.bool_]:
        allowed = np.ones(len(self), dtype=bool)
        for group in wish.unwanted:
            excluded = np.ones(len(self), dtype=bool)
            for word in group:
                has = np.zeros(len(self), dtype=bool)
                term = self._languages.vocabulary.term(word)
                for each in (term,) if term in self._holders else self.correct(word):
                    has[self._holders[each]] = True
                excluded &= has
            allowed &= ~excluded
        return allowed

    def _priced(self, wish: Wish) -> NDArray[np.bool_]:
        low = math.ceil(wish.price.low * 100) if wish.price.low is not None else 0
        if wish.price.high is None:
            return self._cents >= low
        high = min(int(wish.price.high * 100), 2**62)
        return (self._cents >= low) & (self._cents <= high)

    def _score(self, terms: Sequence[_Term], strictly: bool) -> tuple[Scores, NDArray[np.bool_]]:
        """A score for each product, and whether it has anything of what was wanted.

        Args:
            strictly: not in its description alone. There is no washing machine, and linen that is
                washed is no substitute.
        """
        holders = self._named_holders if strictly else self._holders
        scores = np.zeros(len(self), dtype=np.float32)
        required = [term for term in terms if term.required]
        asked = required or [term for term in terms if term.terms]
        matches = np.zeros(len(self), dtype=bool) if asked else np.ones(len(self), dtype=bool)
        for term in asked:
            for each in (*term.terms, *term.soft):
                matches[holders.get(each, _NOBODY)] = True
        assert self._bm25 is not None  # noqa: S101  asked by the caller
        for weight, names in _weighted(terms):
            if names:
                scores += weight * self._bm25.get_scores(names)
        scores *= np.where(self._in_stock, 1.0, _SOLD_OUT).astype(np.float32)
        return scores, matches

    def _rank(self, scores: Scores, terms: Sequence[_Term], wish: Wish) -> list[Hit]:
        order = np.argsort(-scores, kind="stable")
        best = float(scores[order[0]])
        numbers = [int(n) for n in order if scores[n] >= max(0.0, best * _LEAST_SHARE)]
        coverage = self._coverage(terms)
        hits = [Hit(self.products[n], float(scores[n]), float(coverage[n])) for n in numbers]
        near = wish.price.target
        if near is not None and not terms:
            return sorted(hits, key=lambda hit: abs(hit.product.price - near))
        if wish.order == "best":
            return hits
        top = max(hit.coverage for hit in hits)
        hits = [hit for hit in hits if hit.coverage >= top - 0.01]
        # "The dearest book" is one of the category of that name, no reader with "book" as a tag.
        wanted = {each for term in terms if term.required for each in term.terms}
        hits = [hit for hit in hits if wanted and wanted <= self._category(hit)] or hits
        return sorted(hits, key=lambda h: h.product.price, reverse=wish.order == "dearest")

    def _category(self, hit: Hit) -> set[str]:
        return set(self._languages.vocabulary.terms_of(hit.product.category))

    def _coverage(self, terms: Sequence[_Term]) -> Scores:
        """How much of what is wanted each product has, from 0 to 1."""
        covered = np.zeros(len(self), dtype=np.float32)
        for term in terms:
            has = np.zeros(len(self), dtype=np.float32)
            for each, part in [(t, _SOFT) for t in term.soft] + [(t, 1.0) for t in term.terms]:
                has[self._holders[each]] = part
            covered += term.rarity * has
        wanted = sum(term.rarity for term in terms)
        return covered / wanted if wanted else covered + 1.0

    # -- likeness

    def similar(self, product: Product, limit: int) -> Sequence[Hit]:
        """What is most like a product: its words, its category, its price; never itself.

        Of products of this index it is remembered: of the same ones most orders are.
        """
        if self.get(product.id) is not product:
            return self._similar(product, limit)
        asked = product.id, limit
        if asked not in self._alike:
            if len(self._alike) >= _REMEMBERED:
                self._alike.clear()
            self._alike[asked] = self._similar(product, limit)
        return self._alike[asked]

    def _similar(self, product: Product, limit: int) -> list[Hit]:
        number = self._by_id.get(product.id)
        if self._bm25 is None:
            return []
        words = f"{product.name} {' '.join(product.tags)} {product.category}"
        terms = list(dict.fromkeys(self._languages.vocabulary.terms_of(words)))
        scores = self._bm25.get_scores([term for term in terms if term in self._holders] or [""])
        scores = np.asarray(scores, dtype=np.float32).copy()
        same = self._categories == product.category
        distance = np.abs(np.log((self._cents + 1) / (int(product.price * 100) + 1)))
        scores *= np.where(same, _SAME_CATEGORY, 1.0) / (1.0 + 0.2 * distance)
        if number is not None:
            scores[number] = 0.0
        best = float(scores.max(initial=0.0)) or 1.0
        order = np.argsort(-scores, kind="stable")[:limit]
        return [Hit(self.products[n], float(scores[n]) / best, 1.0) for n in order if scores[n] > 0]

    def named(self, name: str) -> list[Product]:
        """The products of that name, in any case; else the one whose name is nearly so."""
        folded = fold(name).strip()
        exact = [p for p, known in zip(self.products, self._names, strict=True) if known == folded]
        if exact or not self._names:
            return exact
        near = process.extractOne(
            folded, self._names, scorer=OSA.normalized_similarity, score_cutoff=_NAME_LIKE
        )
        return [self.products[near[2]]] if near else []

    def by_words(self, text: str, limit: int) -> tuple[Product, ...]:
        """What shares words with a text."""
        words = tuple(dict.fromkeys(split(fold(text))))
        return self.search(Wish(text, wanted=words), limit).products if words else ()

    def of_category(self, category: str) -> list[Product]:
        """The products of a category; case and accents do not count, nor does a typo."""
        folded = {fold(name): name for name in self.categories}
        wanted = fold(category).strip()
        if wanted not in folded:
            near = process.extractOne(
                wanted, list(folded), scorer=OSA.normalized_similarity, score_cutoff=_TYPO_LIKE
            )
            if near is None:
                return []
            wanted = near[0]
        return [product for product in self.products if product.category == folded[wanted]]

    def mentioned(self, text: str, limit: int = 5) -> list[Product]:
        """Products whose whole name stands in a text, in the order in which they stand there."""
        folded = fold(text)
        places = {n: folded.find(name) for n, name in enumerate(self._names) if name in folded}
        return [self.products[n] for n in sorted(places, key=lambda n: places[n])][:limit]

    def _terms_of(
        self, product: Product, fields: Sequence[tuple[str, int]] = _FIELD_WEIGHTS
    ) -> list[str]:
        terms: list[str] = []
        for name, weight in fields:
            value = getattr(product, name)
            text = value if isinstance(value, str) else " ".join(value)
            terms += self._languages.vocabulary.terms_of(text) * weight
        return terms


def _correct(
    surface: Sequence[str], holders: Mapping[str, object], vocabulary: Vocabulary, word: str
) -> tuple[str, ...]:
    """The terms that a misspelt word may mean; of several that are equally near, all.

    Args:
        surface: the catalogue's words as they are written.
        holders: by its terms.
    """
    if len(word) < _TYPO_LENGTH or not surface:
        return ()
    found = process.extract(
        word, surface, scorer=OSA.normalized_similarity, limit=4, score_cutoff=_TYPO_LIKE
    )
    # A wrong first letter is rare, and without this rule "mouse" is a house.
    near = [(text, score) for text, score, _ in found if text[0] == word[0] or score > 0.85]
    near = [(text, score) for text, score in near if len(text) >= _TYPO_LENGTH]
    if not near:
        return ()
    best = near[0][1]
    terms = (vocabulary.term(text) for text, score in near if score == best)
    return tuple(dict.fromkeys(term for term in terms if term in holders))


def _all_text(product: Product) -> str:
    return f"{product.name} {product.category} {' '.join(product.tags)} {product.description}"


def _holders(texts: Sequence[Iterable[str]]) -> dict[str, NDArray[np.int32]]:
    """Term → the numbers of the products that have it."""
    numbers: dict[str, list[int]] = {}
    for number, terms in enumerate(texts):
        for term in set(terms):
            numbers.setdefault(term, []).append(number)
    return {term: np.array(found, dtype=np.int32) for term, found in numbers.items()}


def _bm25(texts: list[list[str]]) -> bm25s.BM25:
    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to DEBUG
    index = bm25s.BM25(k1=1.2, b=0.4)
    index.index(texts, show_progress=False)
    return index


def _weighted(terms: Sequence[_Term]) -> list[tuple[float, list[str]]]:
    """Terms by the weight of their scores."""
    plain = [each for term in terms if term.required for each in term.terms]
    modifiers = [each for term in terms if not term.required for each in term.terms]
    soft = [each for term in terms for each in term.soft]
    return [(1.0, plain), (_MODIFIER, modifiers), (_SOFT, soft)]
