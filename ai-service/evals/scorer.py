"""Run the evaluation cases and check the replies.

Checks cover facts: the returned products and prices, and that no text names a product or a price
that is not in the catalogue. Wording is checked with a few patterns only.
"""

import json
import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.retrieval.language import Languages
from app.retrieval.prices import AMOUNT, amount
from app.schemas.product import Product
from chassis.search.analysis import fold, split

HERE = Path(__file__).parent
SEED = HERE.parent.parent / "local" / "fleet" / "tools" / "catalogue.json"

THRESHOLDS = {"hits": 0.9, "passed": 0.9, "invented": 0}
"""Shares of all cases; `hits` of the cases that list expected products."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply to one case."""

    text: str
    products: Sequence[Product]
    source: str


@dataclass(slots=True)
class Result:
    case: dict[str, Any]
    reply: Reply
    milliseconds: float
    faults: list[str] = field(default_factory=list)
    hit: bool | None = None
    invented: bool = False


Ask = Callable[[dict[str, Any]], Awaitable[Reply]]


def rows() -> list[dict[str, Any]]:
    """Return the seed's products and a few misleading ones."""
    found = json.loads(SEED.read_text()) + json.loads((HERE / "extra_products.json").read_text())
    common = {"image_url": None, "created_at": "2026-11-23T09:30:00.125Z", "stock_quantity": 5}
    return [
        {**common, "updated_at": common["created_at"], **each, "id": f"{number:024x}"}
        for number, each in enumerate(found, 1)
    ]


def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((HERE / "cases.json").read_text())
    return found


def invented(
    text: str, products: Sequence[Product], catalogue: Sequence[Product], question: str = ""
) -> bool:
    """Return True if a reply contains a product or a price that does not exist.

    A reply names a product as `Name (12.34)`, and every such pair must be in the catalogue. Every
    amount with two decimals must be the price of a returned product (of any product, if none was
    returned), or an amount of the question.
    """
    known = {(one.name, f"{one.price:.2f}") for one in catalogue}
    rest = text
    for name, price in sorted(known, key=lambda pair: -len(pair[0])):
        rest = rest.replace(f"{' '.join(name.split())} ({price})", " ")
    if re.search(r"\S+ \(\d+[.,]\d\d\)", rest):
        return True
    prices = {f"{one.price:.2f}" for one in products or catalogue}
    prices |= {f"{amount(match[0]):.2f}" for match in re.finditer(AMOUNT, fold(question))}
    amounts = re.findall(r"(?<![\d.,])\d+\.\d\d(?!\d)", rest)
    foreign = [one for one in products if (one.name, f"{one.price:.2f}") not in known]
    return bool(foreign) or any(amount not in prices for amount in amounts)


def check(
    case: dict[str, Any], reply: Reply, catalogue: Sequence[Product], languages: Languages
) -> Result:
    """Check one reply."""
    result = Result(case, reply, 0.0)
    _check_products(result)
    _check_wording(result, languages)
    result.invented = invented(reply.text, reply.products, catalogue, case["text"])
    if result.invented:
        result.faults.append(f"invented: {reply.text!r}")
    return result


def _check_products(result: Result) -> None:
    case, reply = result.case, result.reply
    names = [product.name for product in reply.products]
    fail = result.faults.append
    if "top3" in case:
        result.hit = bool(set(names[:3]) & set(case["top3"]))
        if not result.hit:
            fail(f"none of {case['top3']} in {names[:3]}")
    if "first" in case and names[:1] != [case["first"]]:
        fail(f"first is {names[:1]}")
    if missing := set(case.get("all", ())) - set(names):
        fail(f"missing: {missing}")
    if case.get("some") and not names:
        fail("no products")
    if shown := set(names) & set(case.get("never", ())):
        fail(f"unexpected products: {shown}")
    if "max" in case and any(p.price > case["max"] for p in reply.products):
        fail("over the budget")
    if "min" in case and any(p.price < case["min"] for p in reply.products):
        fail("below the price")
    if case.get("empty") and names:
        fail(f"unexpected products: {names}")


def _check_wording(result: Result, languages: Languages) -> None:
    case, reply = result.case, result.reply
    fail = result.faults.append
    if "reply_has" in case and not re.search(case["reply_has"], reply.text):
        fail(f"says {reply.text!r}")
    if "reply_not" in case and (amounts := re.search(case["reply_not"], reply.text)):
        fail(f"says {amounts[0]!r}")
    own_words = reply.text
    for product in reply.products:
        own_words = own_words.replace(product.name, " ")
    if "language" in case and languages.detect(split(fold(own_words))) != case["language"]:
        fail(f"answers in another language: {reply.text!r}")


async def play(
    ask: Ask, chosen: Sequence[dict[str, Any]], catalogue: Sequence[Product], languages: Languages
) -> list[Result]:
    results = []
    for case in chosen:
        started = time.perf_counter()
        reply = await ask(case)
        seconds = time.perf_counter() - started
        result = check(case, reply, catalogue, languages)
        result.milliseconds = seconds * 1000
        results.append(result)
    return results


@dataclass(frozen=True, slots=True)
class Score:
    """Summary of the whole set."""

    passed: float
    hits: float
    invented: int

    @property
    def enough(self) -> bool:
        return (
            self.passed >= THRESHOLDS["passed"]
            and self.hits >= THRESHOLDS["hits"]
            and self.invented <= THRESHOLDS["invented"]
        )


def score(results: Sequence[Result]) -> Score:
    question = [result.hit for result in results if result.hit is not None]
    return Score(
        passed=sum(not result.faults for result in results) / len(results),
        hits=sum(question) / len(question),
        invented=sum(result.invented for result in results),
    )


def table(results: Sequence[Result]) -> str:
    """Format one line per group, one for the whole set, and every fault."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        groups[result.case["group"]].append(result)
    lines = [f"{'group':<12} {'cases':>5} {'passed':>7} {'hits':>9} {'invented':>9} {'ms':>7}"]
    for name, members in [*groups.items(), ("all", list(results))]:
        question = [one.hit for one in members if one.hit is not None]
        hits = f"{sum(question)}/{len(question)}" if question else "-"
        passed = sum(not one.faults for one in members)
        milliseconds = sorted(one.milliseconds for one in members)[len(members) // 2]
        bad = sum(one.invented for one in members)
        lines.append(
            f"{name:<12} {len(members):>5} {passed:>7} {hits:>9} {bad:>9} {milliseconds:>7.1f}"
        )
    for result in results:
        lines += [f"  {result.case['id']}: {fault}" for fault in result.faults]
    return "\n".join(lines)
