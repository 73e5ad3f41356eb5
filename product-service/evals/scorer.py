"""Relevance of rankings: nDCG@10 and success@3, compared with floors."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from bson import ObjectId

from app.models.product import Product
from app.models.search_query import SearchQuery
from app.search.index import SearchIndex
from evals import generated
from evals.cases import Case, demo_cases, demo_products, products_of
from fleet.tools.generated_catalogue import generated as generated_catalogue

RANKED = 10
"""Results that nDCG looks at."""

ALL = "all"
FIRST = 3
ACCEPTABLE = 2

Ranker = Callable[[str], Sequence[int]]
"""Return the numbers of the products for a query, best first."""


@dataclass(frozen=True, slots=True)
class Score:
    """Means over queries.

    Attributes:
        ndcg: nDCG@10.
        success: share of queries with an acceptable product among the first three.
    """

    ndcg: float
    success: float

    def reaches(self, floor: "Score") -> bool:
        return self.ndcg >= floor.ndcg and self.success >= floor.success


FLOOR = Score(ndcg=0.92, success=0.92)
"""For each kind. They have about 14 queries, so one may fail."""

FLOOR_OF_ALL = Score(ndcg=0.985, success=0.985)


@dataclass(frozen=True, slots=True)
class Set:
    """A catalogue and queries over it."""

    name: str
    products: Sequence[Product]
    cases: Sequence[Case]


@dataclass(frozen=True, slots=True)
class Result:
    case: Case
    ranking: Sequence[int]

    @property
    def ndcg(self) -> float:
        """DCG of the first ten results, relative to the best possible order.

        Without a right answer it is 1 for an empty result, and 0 for any other.
        """
        best = _dcg(sorted(self.case.grades.values(), reverse=True)[:RANKED])
        if not best:
            return float(not self.ranking)
        return _dcg([self.case.grades.get(one, 0) for one in self.ranking[:RANKED]]) / best

    @property
    def success(self) -> bool:
        if not self.case.grades:
            return not self.ranking
        return any(self.case.grades.get(one, 0) >= ACCEPTABLE for one in self.ranking[:FIRST])


def sets() -> list[Set]:
    demo = demo_products()
    catalogue = list(generated_catalogue(generated.PRODUCTS))
    return [
        Set("demo", demo, demo_cases(demo)),
        Set("generated", products_of(catalogue), generated.cases(catalogue)),
    ]


def ranker_of(products: Sequence[Product], limit: int = RANKED) -> Ranker:
    """Return the ranking of the search index, at most `limit` results."""
    index = SearchIndex()
    numbers: dict[ObjectId, int] = {}
    for number, one in enumerate(products):
        index.put(one)
        numbers[one.id] = number

    def rank(text: str) -> Sequence[int]:
        hits = index.search(SearchQuery.parse(text), limit=limit)
        return [numbers[one] for one in hits.product_ids]

    return rank


def play(
    chosen: Sequence[Set], ranker: Callable[[Sequence[Product]], Ranker] = ranker_of
) -> list[Result]:
    results = []
    for each in chosen:
        rank = ranker(each.products)
        results += [Result(case, rank(case.text)) for case in each.cases]
    return results


def scores(results: Sequence[Result]) -> dict[str, Score]:
    """Return the score of each kind of query, and of all queries."""
    kinds: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        kinds[result.case.kind].append(result)
    return {name: _score(members) for name, members in [*kinds.items(), (ALL, results)]}


def below_floor(found: Mapping[str, Score]) -> list[str]:
    """Return the kinds of queries whose score is too low."""
    floors = dict.fromkeys(found, FLOOR) | {ALL: FLOOR_OF_ALL}
    return [name for name, floor in floors.items() if not found[name].reaches(floor)]


def table(results: Sequence[Result]) -> str:
    """Format one line for each kind, one for all queries, and the queries that fail."""
    counts: dict[str, int] = defaultdict(int, {ALL: len(results)})
    for result in results:
        counts[result.case.kind] += 1
    lines = [f"{'kind':<18} {'queries':>7} {'nDCG@10':>8} {'success@3':>9}"]
    for name, score in scores(results).items():
        lines.append(f"{name:<18} {counts[name]:>7} {score.ndcg:>8.3f} {score.success:>9.3f}")
    failed = [one for one in results if not one.success]
    lines += [f"  {one.case.id}: {one.case.text!r}, nDCG {one.ndcg:.2f}" for one in failed]
    return "\n".join(lines)


def _score(results: Sequence[Result]) -> Score:
    return Score(fmean(one.ndcg for one in results), fmean(one.success for one in results))


def _dcg(grades: Sequence[int]) -> float:
    gains = (2.0**grade - 1 for grade in grades)
    return sum(gain / math.log2(place) for place, gain in enumerate(gains, start=2))
