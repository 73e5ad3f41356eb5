"""Plays the cases against an assistant and judges what it says.

Judged are facts: which products came, at which prices, and that no text names a product or a price
that the catalogue does not have. Wording is judged by a few patterns only.
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
from app.retrieval.text_normalisation import fold, split
from app.schemas.product import Product

HERE = Path(__file__).parent
SEED = HERE.parent.parent / "local" / "fleet" / "tools" / "catalogue.json"

THRESHOLDS = {"hits": 0.9, "passed": 0.9, "invented": 0}
"""Of all cases; `hits` of those that name products that should come first."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service said to one case."""

    text: str
    products: Sequence[Product]
    source: str


@dataclass(slots=True)
class Verdict:
    case: dict[str, Any]
    reply: Reply
    milliseconds: float
    faults: list[str] = field(default_factory=list)
    hit: bool | None = None
    invented: bool = False


Ask = Callable[[dict[str, Any]], Awaitable[Reply]]


def rows() -> list[dict[str, Any]]:
    """The seed's products and a few that are meant to mislead."""
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
    text: str, products: Sequence[Product], catalogue: Sequence[Product], asked: str = ""
) -> bool:
    """Whether a reply offers what is not for sale: a priced name, or a price, of no product.

    The reply's way to name a product is `Name (12.34)`; every such pair must be in the catalogue,
    and every amount with two decimals must be the price of a product that came with the answer
    (where none came: of any product), or the asker's own.
    """
    known = {(one.name, f"{one.price:.2f}") for one in catalogue}
    rest = text
    for name, price in sorted(known, key=lambda pair: -len(pair[0])):
        rest = rest.replace(f"{' '.join(name.split())} ({price})", " ")
    if re.search(r"\S+ \(\d+[.,]\d\d\)", rest):
        return True
    prices = {f"{one.price:.2f}" for one in products or catalogue}
    prices |= {f"{amount(match[0]):.2f}" for match in re.finditer(AMOUNT, fold(asked))}
    said = re.findall(r"(?<![\d.,])\d+\.\d\d(?!\d)", rest)
    foreign = [one for one in products if (one.name, f"{one.price:.2f}") not in known]
    return bool(foreign) or any(amount not in prices for amount in said)


def judge(
    case: dict[str, Any], reply: Reply, catalogue: Sequence[Product], languages: Languages
) -> Verdict:
    """All that is wrong with one reply."""
    verdict = Verdict(case, reply, 0.0)
    _judge_products(verdict)
    _judge_words(verdict, languages)
    verdict.invented = invented(reply.text, reply.products, catalogue, case["text"])
    if verdict.invented:
        verdict.faults.append(f"invented: {reply.text!r}")
    return verdict


def _judge_products(verdict: Verdict) -> None:
    case, reply = verdict.case, verdict.reply
    names = [product.name for product in reply.products]
    wrong = verdict.faults.append
    if "top3" in case:
        verdict.hit = bool(set(names[:3]) & set(case["top3"]))
        if not verdict.hit:
            wrong(f"none of {case['top3']} in {names[:3]}")
    if "first" in case and names[:1] != [case["first"]]:
        wrong(f"first is {names[:1]}")
    if missing := set(case.get("all", ())) - set(names):
        wrong(f"missing: {missing}")
    if case.get("some") and not names:
        wrong("no product came")
    if shown := set(names) & set(case.get("never", ())):
        wrong(f"must not come: {shown}")
    if "max" in case and any(p.price > case["max"] for p in reply.products):
        wrong("over the budget")
    if "min" in case and any(p.price < case["min"] for p in reply.products):
        wrong("below the price")
    if case.get("empty") and names:
        wrong(f"products came: {names}")


def _judge_words(verdict: Verdict, languages: Languages) -> None:
    case, reply = verdict.case, verdict.reply
    wrong = verdict.faults.append
    if "reply_has" in case and not re.search(case["reply_has"], reply.text):
        wrong(f"says {reply.text!r}")
    if "reply_not" in case and (said := re.search(case["reply_not"], reply.text)):
        wrong(f"says {said[0]!r}")
    own_words = reply.text
    for product in reply.products:
        own_words = own_words.replace(product.name, " ")
    if "language" in case and languages.detect(split(fold(own_words))) != case["language"]:
        wrong(f"answers in another language: {reply.text!r}")


async def play(
    ask: Ask, chosen: Sequence[dict[str, Any]], catalogue: Sequence[Product], languages: Languages
) -> list[Verdict]:
    verdicts = []
    for case in chosen:
        began = time.perf_counter()
        reply = await ask(case)
        seconds = time.perf_counter() - began
        verdict = judge(case, reply, catalogue, languages)
        verdict.milliseconds = seconds * 1000
        verdicts.append(verdict)
    return verdicts


@dataclass(frozen=True, slots=True)
class Score:
    """The whole set in numbers."""

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


def score(verdicts: Sequence[Verdict]) -> Score:
    asked = [verdict.hit for verdict in verdicts if verdict.hit is not None]
    return Score(
        passed=sum(not verdict.faults for verdict in verdicts) / len(verdicts),
        hits=sum(asked) / len(asked),
        invented=sum(verdict.invented for verdict in verdicts),
    )


def table(verdicts: Sequence[Verdict]) -> str:
    """One line for each group, the whole, and every fault."""
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.case["group"]].append(verdict)
    lines = [f"{'group':<12} {'cases':>5} {'passed':>7} {'hits':>9} {'invented':>9} {'ms':>7}"]
    for name, members in [*groups.items(), ("all", list(verdicts))]:
        asked = [one.hit for one in members if one.hit is not None]
        hits = f"{sum(asked)}/{len(asked)}" if asked else "-"
        passed = sum(not one.faults for one in members)
        milliseconds = sorted(one.milliseconds for one in members)[len(members) // 2]
        made_up = sum(one.invented for one in members)
        lines.append(
            f"{name:<12} {len(members):>5} {passed:>7} {hits:>9} {made_up:>9} {milliseconds:>7.1f}"
        )
    for verdict in verdicts:
        lines += [f"  {verdict.case['id']}: {fault}" for fault in verdict.faults]
    return "\n".join(lines)
