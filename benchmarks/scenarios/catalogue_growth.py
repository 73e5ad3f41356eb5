"""Latency, CPU and memory of the catalogue with 100, 10,000 and 100,000 products."""

import math
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2

from benchmarks.catalogue_loader import CatalogueLoader
from benchmarks.figure import Figure, Measured, Series
from benchmarks.fleet_under_load import FleetUnderLoad
from benchmarks.tools import Answer, Request, load_of, send_by
from fleet.errors import FleetError

SIZES = (100, 10_000, 100_000)
CLIENTS = 16
_MONGO, _PRODUCTS, _ASSISTANT = "mongo", "product-service", "ai-service"
_FASTEST = 3_000  # requests per second; the load tool cannot send more
_WARM_UP = 0.5  # seconds
_LOADING_SECONDS = 600
_PRICES = "min_price=10&max_price=200"
_DEPTHS = (0.2, 0.4, 0.6, 0.8)  # of the list, where cursors begin
_RESULTS = 5

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Point:
    """One kind of request at one size: latencies in ms; CPU of a request in ms."""

    p50: float
    p95: float
    own_cpu: float
    database_cpu: float

    @property
    def cpu(self) -> float:
        return self.own_cpu + self.database_cpu

    def __str__(self) -> str:
        return (
            f"p50 {self.p50:.1f}, p95 {self.p95:.1f} ms, CPU {self.own_cpu:.2f} +"
            f" {self.database_cpu:.2f} ms"
        )


def products(fleet: FleetUnderLoad, seconds: float, say: Say) -> Measured:
    """Measure every kind of request at each size, directly at product-service.

    The requests of a kind are the same at each size, and find a full page already at the smallest.
    """
    loader = CatalogueLoader(fleet.mongo)
    points: dict[str, list[_Point]] = {}
    memory: dict[str, list[tuple[float, float]]] = {_PRODUCTS: [], _ASSISTANT: []}
    loading: list[tuple[float, float]] = []
    notes: list[str] = []
    words: _Words | None = None
    for size in SIZES:
        say(f"{size:,} products")
        _fill(fleet, loader, size)
        loading.append((size, _load_index(fleet, size)))
        words = words or _Words(fleet.catalogue())
        for name, paths in _all_requests(fleet, size, words):
            point, failures = _measure(fleet, paths, seconds)
            points.setdefault(name, []).append(point)
            notes += [f"{name} of {size:,}: {failures}"] if failures else []
        memory[_PRODUCTS].append((size, fleet.rss(_PRODUCTS)))
        notes += _load_assistant(fleet, size)
        memory[_ASSISTANT].append((size, fleet.rss(_ASSISTANT)))
    notes += [
        f"{name}, {size:,} products: {point}"
        for name, found in points.items()
        for size, point in zip(SIZES, found, strict=True)
    ]
    return Measured.of(
        _figures(points, memory, loading),
        [
            Series("catalogue, median in ms by products", "ms", _lines(points)),
            Series("memory in MB by products", "MB", memory),
        ],
        notes,
    )


def _fill(fleet: FleetUnderLoad, loader: CatalogueLoader, size: int) -> None:
    # ai-service as well: its reads of the catalogue would add to those that are measured.
    for name in (_ASSISTANT, _PRODUCTS):
        fleet.stop(name)
    loader.fill_up_to(size)


def _load_index(fleet: FleetUnderLoad, size: int) -> float:
    """Start product-service; return the seconds until its search index has all products."""
    began = time.monotonic()
    fleet.start(_PRODUCTS)
    if not _has_indexed(fleet.url(_PRODUCTS), "search_index_products", size):
        raise FleetError(f"the search index has not all {size:,} products")
    return time.monotonic() - began


def _load_assistant(fleet: FleetUnderLoad, size: int) -> list[str]:
    """Start ai-service and wait until it has the catalogue. Return a note if it does not get it."""
    began = time.monotonic()
    fleet.start(_ASSISTANT)
    complete = _has_indexed(fleet.url(_ASSISTANT), "catalogue_products", size)
    seconds = time.monotonic() - began
    state = "has" if complete else "still has not"
    return [f"ai-service {state} all {size:,} products after {seconds:.1f} s"]


def _has_indexed(url: str, metric: str, size: int) -> bool:
    end = time.monotonic() + _LOADING_SECONDS
    with httpx2.Client(timeout=30) as http:
        while time.monotonic() < end:
            found = re.search(rf"^{metric} (\S+)$", http.get(f"{url}/metrics").text, re.MULTILINE)
            if found is not None and float(found[1]) >= size:
                return True
            time.sleep(0.1)
    return False


class _Words:
    """The first products: their ids, and words and categories with full result pages."""

    def __init__(self, catalogue: Sequence[Mapping[str, Any]]) -> None:
        self.ids = [str(one["id"]) for one in catalogue]
        self.categories = _frequent(([one["category"]] for one in catalogue), 2 * _RESULTS)
        texts = [_words(one) for one in catalogue]
        self.single = _frequent(texts, _RESULTS)
        kept = [sorted(words & set(self.single)) for words in texts]
        pairs = _frequent(
            ([" ".join(each) for each in combinations(one, 2)] for one in kept), _RESULTS
        )
        self.texts = [*self.single, *pairs]
        self.in_category = _frequent(
            (
                [f"q={word}&category={quote(one['category'])}" for word in words]
                for one, words in zip(catalogue, kept, strict=True)
            ),
            _RESULTS,
        )

    @property
    def misspelt(self) -> list[str]:
        """Each text with two swapped letters in its longest word."""
        wrong = []
        for text in self.texts:
            word = max(text.split(), key=len)
            middle = len(word) // 2
            first, second = word[middle], word[middle + 1 : middle + 2]
            if len(word) >= 5 and first != second:
                swapped = word[:middle] + second + first + word[middle + 2 :]
                wrong.append(text.replace(word, swapped))
        return wrong


def _words(product: Mapping[str, Any]) -> set[str]:
    text = " ".join([product["name"], *product["tags"]]).lower()
    return {word for word in text.split() if word.isascii() and word.isalpha() and len(word) > 3}


def _frequent(groups: Iterable[Iterable[str]], least: int) -> list[str]:
    counts = Counter(each for group in groups for each in group)
    return sorted(each for each, count in counts.items() if count >= least)


def _all_requests(
    fleet: FleetUnderLoad, size: int, words: _Words
) -> Iterator[tuple[str, list[str]]]:
    """Yield the paths of each kind of request.

    Lists come last: on the embedded server their scans continue after a timeout, and would delay
    the others.
    """
    yield from _requests(words).items()
    yield "list, deep by cursor", _deep(fleet, size)


def _requests(words: _Words) -> dict[str, list[str]]:
    categories = [f"category={quote(one)}" for one in words.categories]
    few = f"page_size={_RESULTS}"
    texts = [f"q={quote(one)}" for one in words.texts]
    return {
        "one product": [f"/{one}" for one in words.ids],
        "search": [f"/search?{one}&limit={_RESULTS}" for one in texts],
        "search, misspelt": [f"/search?q={quote(one)}&limit={_RESULTS}" for one in words.misspelt],
        "search, category, by price": [
            f"/search?{one}&sort=price&limit={_RESULTS}" for one in words.in_category
        ],
        "suggest": [
            f"/suggest?q={quote(one[:end])}" for one in words.texts for end in range(2, len(one))
        ],
        "facets": ["/facets", *(f"/facets?{one}" for one in categories)],
        "facets of a search": [f"/facets?{one}" for one in texts],
        "list": [f"?sort={sort}" for sort in ("-created_at", "price", "-price", "name")],
        "list, category": [f"?{one}" for one in categories],
        "list, category and prices": [f"?{one}&{_PRICES}&{few}" for one in categories],
        "list, prices by name": [
            f"?min_price={low}&max_price=300&sort=name&{few}" for low in range(10, 30)
        ],
    }


def _deep(fleet: FleetUnderLoad, size: int) -> list[str]:
    """Return pages in the middle of the list; their cursors are in the links of earlier pages."""
    paths = []
    url = f"{fleet.url(_PRODUCTS)}/api/products"
    with httpx2.Client(timeout=30) as http:
        for depth in _DEPTHS:
            page = max(1, round(size * depth / 10))
            reply = http.get(url, params={"page": page, "page_size": 10})
            link = reply.links.get("next", {}).get("url", "")
            cursors = parse_qs(urlsplit(link).query).get("cursor", [])
            paths += [f"?page_size=10&cursor={quote(one)}" for one in cursors]
    return paths


def _measure(
    fleet: FleetUnderLoad, paths: Sequence[str], seconds: float
) -> tuple[_Point, str | None]:
    """Return the figures of one kind of request, and what failed."""
    if not paths:
        return _Point(math.inf, math.inf, math.inf, math.inf), "no page has a link"
    url = f"{fleet.url(_PRODUCTS)}/api/products"
    chance = random.Random(7)  # noqa: S311
    _send(url, chance.choices(paths, k=_FASTEST), _WARM_UP)
    with fleet.cpu() as cpu:
        answers = _send(url, chance.choices(paths, k=round(_FASTEST * seconds)), seconds)
    failed = [one for one in answers if one.status != 200]
    if failed:
        point = _Point(math.inf, math.inf, math.inf, math.inf)
        return point, f"{len(failed)} of {len(answers)} failed, the first with {failed[0].status}"
    load = load_of(answers)
    own, database = (cpu.of(name) * 1_000 / load.count for name in (_PRODUCTS, _MONGO))
    return _Point(load.p50, load.p95, own, database), None


def _send(url: str, paths: Sequence[str], seconds: float) -> list[Answer]:
    return send_by([Request("GET", url + path, {}) for path in paths], CLIENTS, seconds)


def _figures(
    points: Mapping[str, Sequence[_Point]],
    memory: Mapping[str, Sequence[tuple[float, float]]],
    loading: Sequence[tuple[float, float]],
) -> list[Figure]:
    small, large = f"{SIZES[0]:,}", f"{SIZES[-1]:,}"
    figures = []
    for name, (first, *_, last) in points.items():
        figures += [
            Figure("growth", f"{name}, {large} against {small}", _ratio(last.p50, first.p50), "x"),
            Figure(
                "growth", f"{name}, {large} against {small}, CPU", _ratio(last.cpu, first.cpu), "x"
            ),
            Figure("growth", f"{name} of {large}, p50", last.p50, "ms"),
            Figure("growth", f"{name} of {large}, p95", last.p95, "ms"),
            Figure("growth", f"{name} of {large}, CPU", last.cpu, "ms"),
        ]
    for name, line in memory.items():
        figures += [
            Figure("growth", f"{name}, {size:,} products, RSS", rss, "MB") for size, rss in line
        ]
    figures += [
        Figure("growth", f"search index of {size:,} products, start to loaded", seconds, "s")
        for size, seconds in loading
    ]
    return figures


def _ratio(large: float, small: float) -> float:
    return large / small if math.isfinite(large) else math.inf


def _lines(points: Mapping[str, Sequence[_Point]]) -> dict[str, list[tuple[float, float]]]:
    return {
        name: [
            (size, point.p50)
            for size, point in zip(SIZES, found, strict=True)
            if math.isfinite(point.p50)
        ]
        for name, found in points.items()
    }
