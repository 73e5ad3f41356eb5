"""Chat and suggestions: retrieval first, a model's words where there is one, never a guess."""

import logging
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter

from app.clients.model_client import ModelClient
from app.config import Settings
from app.retrieval.index import CatalogueIndex, Found
from app.retrieval.language import Languages
from app.retrieval.query_parser import Understanding, Wish
from app.retrieval.text_normalisation import fold, split
from app.schemas.ai import Turn
from app.schemas.product import Product
from app.services import prompts
from app.services.answer import OFFLINE, Answer, priced
from app.services.grounding import Grounding, Offer
from app.services.sentences import Sentences
from app.services.template_answers import OfflineEngine
from chassis.http_client.client import UpstreamUnavailable
from chassis.http_client.deadline import Deadline

log = logging.getLogger(__name__)

_CANDIDATES = 8
_SUGGESTED = 8
_EARLIER = 6  # messages of the person that are looked at for what this one leaves open
_PIECES = re.compile(r"\s*\S+\s*")


class Catalogue(Protocol):
    def current(self) -> CatalogueIndex | None:
        """The index, where one is known that is not too old."""


@dataclass(frozen=True, slots=True)
class Briefing:
    """One request, worked out as far as it is without a model.

    Attributes:
        candidates: all that a model may name.
        offline: the answer without it.
    """

    message: str
    history: Sequence[Turn]
    wish: Wish
    found: Found
    candidates: tuple[Product, ...]
    offline: Answer
    categories: Sequence[str] = ()
    known: bool = True


class Assistant:
    """Answers people, each within `model_budget_seconds` and a few milliseconds."""

    def __init__(
        self,
        catalogue: Catalogue,
        model: ModelClient,
        languages: Languages,
        registry: CollectorRegistry,
        settings: Settings,
    ) -> None:
        self._catalogue = catalogue
        self._model = model
        self._languages = languages
        self._understanding = Understanding(languages)
        self._engine = OfflineEngine(languages)
        self._budget = settings.model_budget_seconds
        self._answers = Counter(
            "ai_answers", "Answers by who gave them", ["kind", "by"], registry=registry
        )
        self._fates = Counter(
            "ai_sentences",
            "A model's sentences by what became of them",
            ["fate"],
            registry=registry,
        )

    async def chat(self, message: str, history: Sequence[Turn], ask_model: bool) -> Answer:
        """The whole answer."""
        answer = await self._whole(self._brief(message, history), ask_model)
        self._count("chat", answer)
        return answer

    async def _whole(self, briefing: Briefing, ask_model: bool) -> Answer:
        """The model's answer if it can stand alone, else the offline engine's."""
        drafting, said = _Drafting(briefing, self._languages), ""
        async with aclosing(self._sentences(briefing, drafting, ask_model)) as sentences:
            async for sentence in sentences:
                said += sentence
        return drafting.answer(said) or briefing.offline

    async def stream(
        self, message: str, history: Sequence[Turn], ask_model: bool
    ) -> AsyncGenerator[str | Answer]:
        """The answer's text in pieces, and at last the answer itself.

        A sentence goes out when it is complete and has been checked: what was said cannot be taken
        back. Where the model fails in the midst, or in the end has named nothing though there was
        something, the offline engine's answer follows what was said.
        """
        briefing = self._brief(message, history)
        drafting, said = _Drafting(briefing, self._languages), ""
        async with aclosing(self._sentences(briefing, drafting, ask_model)) as sentences:
            async for sentence in sentences:
                said += sentence
                for piece in _PIECES.findall(sentence):
                    yield piece
        answer = drafting.answer(said)
        if answer is None:
            answer = _completed(said, drafting.products, briefing.offline)
            for piece in _PIECES.findall(answer.text[len(said) :]):
                yield piece
        self._count("chat", answer)
        yield answer

    async def suggest(self, query: str, ask_model: bool) -> Answer:
        """As one message of a chat; its products are all that fit, those that are named first."""
        briefing = self._brief(query, ())
        answer = briefing.offline
        if briefing.found.hits:
            answer = await self._whole(briefing, ask_model)
        named = answer.products
        if briefing.offline.products:
            others = briefing.found.products[:_SUGGESTED]
            named += tuple(product for product in others if product not in named)
        self._count("suggest", answer)
        return Answer(answer.text, named[:_SUGGESTED], answer.source)

    def _brief(self, message: str, history: Sequence[Turn]) -> Briefing:
        earlier = [turn.content for turn in history if turn.role == "user"][-_EARLIER:]
        wish = self._understanding.converse(message, earlier)
        index = self._catalogue.current()
        if index is None:
            offline = self._engine.away(wish)
            return Briefing(message, history, wish, Found(), (), offline, known=False)
        said = [turn.content for turn in history if turn.role == "assistant"][-1:]
        mentioned = index.mentioned(said[0]) if said and (wish.refers_back or wish.cheaper) else []
        if wish.cheaper and mentioned and wish.wanted:
            wish = wish.below(min(product.price for product in mentioned))
        found = index.search(wish, _CANDIDATES) if wish.about_products else Found()
        offline = self._engine.answer(wish, index, found)
        shown = found.products if offline.products else ()
        others = tuple(p for p in mentioned if p not in shown and wish.price.allows(p.price))
        candidates = (shown + others)[:_CANDIDATES]
        return Briefing(message, history, wish, found, candidates, offline, index.categories[:12])

    async def _sentences(
        self, briefing: Briefing, drafting: "_Drafting", ask_model: bool
    ) -> AsyncGenerator[str]:
        """The sentences of the model's answer that may be said; none where it is not asked."""
        if not (ask_model and self._model.enabled and briefing.known):
            return
        # No draft that names products: a name is data, and a draft reads like our own words.
        draft = "" if briefing.offline.products else briefing.offline.text
        messages = prompts.chat(briefing.message, briefing.history, briefing.candidates, draft)
        try:
            async with self._model.ask(messages, Deadline.after(self._budget)) as pieces:
                async for piece in pieces:
                    drafting.model, drafting.cut = piece.model, piece.cut
                    for sentence in drafting.sentences.feed(piece.text):
                        yield self._checked(drafting, sentence)
            rest = drafting.sentences.rest()
            if rest.strip() and not drafting.cut:
                yield self._checked(drafting, rest)
            drafting.complete = True
        except UpstreamUnavailable as error:
            log.info("answered without the model", extra={"reason": error.reason.value})

    def _checked(self, drafting: "_Drafting", sentence: str) -> str:
        checked = drafting.grounding.check(sentence)
        self._fates.labels("dropped" if checked is None else "kept").inc()
        return checked or ""

    def _count(self, kind: str, answer: Answer) -> None:
        self._answers.labels(kind, OFFLINE if answer.source == OFFLINE else "model").inc()


class _Drafting:
    """A model's answer while it is being written."""

    def __init__(self, briefing: Briefing, languages: Languages) -> None:
        self._briefing = briefing
        self.sentences = Sentences()
        self.grounding = Grounding(
            [_offer(product) for product in briefing.candidates],
            briefing.message,
            languages,
            allowed_names=briefing.categories,
            german=briefing.wish.language == "de",
        )
        self.model = ""
        self.cut = False
        self.complete = False

    @property
    def products(self) -> tuple[Product, ...]:
        """Those that it has named, in that order."""
        return tuple(self._briefing.candidates[number] for number in self.grounding.named)

    def answer(self, said: str) -> Answer | None:
        """The answer; None where it cannot stand alone."""
        owed = bool(self._briefing.offline.products) and not self.grounding.named
        if not self.complete or owed or not said.strip():
            return None
        return Answer(said, self.products, self.model)


def _offer(product: Product) -> Offer:
    text = f"{product.category} {' '.join(product.tags)} {product.description}"
    return Offer(product.name, product.price, priced(product), frozenset(split(fold(text))))


def _completed(said: str, named: tuple[Product, ...], offline: Answer) -> Answer:
    """What a model had said before it failed, and the offline answer behind it."""
    joint = " " if said and not said[-1].isspace() else ""
    products = named + tuple(product for product in offline.products if product not in named)
    return Answer(said + joint + offline.text, products)
