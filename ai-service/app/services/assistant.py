"""Chat and suggestions: retrieve products, then generate the reply by a model or a template."""

import logging
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter

from app.clients.model_client import ModelClient
from app.config import Settings
from app.retrieval.index import CatalogueIndex, SearchResult
from app.retrieval.language import Languages
from app.retrieval.query_parser import ParsedQuery, QueryParser
from app.schemas.ai import Turn
from app.schemas.product import Product
from app.services import prompts
from app.services.answer import OFFLINE, Answer, priced
from app.services.grounding import Grounding, Offer
from app.services.sentences import Sentences
from app.services.template_answers import TemplateAnswers
from chassis.http_client.client import UpstreamUnavailable
from chassis.http_client.deadline import Deadline
from chassis.search.analysis import fold, split

log = logging.getLogger(__name__)

_MAX_CANDIDATES = 8
_MAX_SUGGESTIONS = 8
_MAX_EARLIER_MESSAGES = 6  # of the customer, used to complete an elliptical message
_PIECES = re.compile(r"\s*\S+\s*")


class Catalogue(Protocol):
    def current(self) -> CatalogueIndex | None:
        """Return the index, or None if there is none or it is too old."""


@dataclass(frozen=True, slots=True)
class ChatContext:
    """A parsed request with its search result.

    Attributes:
        candidates: products that a model may name.
        offline: the template answer, used if the model gives none.
        known: False if the catalogue is unavailable.
    """

    message: str
    history: Sequence[Turn]
    query: ParsedQuery
    found: SearchResult
    candidates: tuple[Product, ...]
    offline: Answer
    categories: Sequence[str] = ()
    known: bool = True


class Assistant:
    """Answer customers, each within `model_budget_seconds` plus a few milliseconds."""

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
        self._parser = QueryParser(languages)
        self._templates = TemplateAnswers(languages)
        self._budget = settings.model_budget_seconds
        self._answers = Counter(
            "ai_answers", "Answers by endpoint and source", ["kind", "by"], registry=registry
        )
        self._sentence_outcomes = Counter(
            "ai_sentences",
            "Sentences of the model by outcome of the grounding check",
            ["outcome"],
            registry=registry,
        )

    async def chat(self, message: str, history: Sequence[Turn], ask_model: bool) -> Answer:
        """Return the whole answer."""
        answer = await self._complete_answer(self._prepare(message, history), ask_model)
        self._count("chat", answer)
        return answer

    async def _complete_answer(self, context: ChatContext, ask_model: bool) -> Answer:
        """Return the model's answer if it is complete, else the template answer."""
        model_answer, text = _ModelAnswer(context, self._languages), ""
        async with aclosing(self._sentences(context, model_answer, ask_model)) as sentences:
            async for sentence in sentences:
                text += sentence
        return model_answer.answer(text) or context.offline

    async def stream(
        self, message: str, history: Sequence[Turn], ask_model: bool
    ) -> AsyncGenerator[str | Answer]:
        """Stream the text of the answer in pieces, then the answer itself.

        A sentence is sent when it is complete and checked, because it cannot be withdrawn. If the
        model fails midway, or names no product although some were found, the template answer is
        appended.
        """
        context = self._prepare(message, history)
        model_answer, text = _ModelAnswer(context, self._languages), ""
        async with aclosing(self._sentences(context, model_answer, ask_model)) as sentences:
            async for sentence in sentences:
                text += sentence
                for piece in _PIECES.findall(sentence):
                    yield piece
        answer = model_answer.answer(text)
        if answer is None:
            answer = _append_offline(text, model_answer.products, context.offline)
            for piece in _PIECES.findall(answer.text[len(text) :]):
                yield piece
        self._count("chat", answer)
        yield answer

    async def suggest(self, query: str, ask_model: bool) -> Answer:
        """Answer one query. The products named in the text come first, then other matches."""
        context = self._prepare(query, ())
        answer = context.offline
        if context.found.hits:
            answer = await self._complete_answer(context, ask_model)
        named = answer.products
        if context.offline.products:
            others = context.found.products[:_MAX_SUGGESTIONS]
            named += tuple(product for product in others if product not in named)
        self._count("suggest", answer)
        return Answer(answer.text, named[:_MAX_SUGGESTIONS], answer.source)

    def _prepare(self, message: str, history: Sequence[Turn]) -> ChatContext:
        earlier = [turn.content for turn in history if turn.role == "user"][-_MAX_EARLIER_MESSAGES:]
        query = self._parser.parse_conversation(message, earlier)
        index = self._catalogue.current()
        if index is None:
            offline = self._templates.catalogue_unavailable(query)
            return ChatContext(message, history, query, SearchResult(), (), offline, known=False)
        replies = [turn.content for turn in history if turn.role == "assistant"]
        mentioned: list[Product] = []
        if replies and (query.refers_back or query.cheaper):
            mentioned = index.find_mentioned(replies[-1])
        if query.cheaper and mentioned and query.keywords:
            query = query.below(min(product.price for product in mentioned))
        found = index.search(query, _MAX_CANDIDATES) if query.about_products else SearchResult()
        offline = self._templates.answer(query, index, found)
        shown = found.products if offline.products else ()
        others = tuple(p for p in mentioned if p not in shown and query.price.allows(p.price))
        candidates = (shown + others)[:_MAX_CANDIDATES]
        return ChatContext(
            message, history, query, found, candidates, offline, index.categories[:12]
        )

    async def _sentences(
        self, context: ChatContext, model_answer: "_ModelAnswer", ask_model: bool
    ) -> AsyncGenerator[str]:
        """Yield the checked sentences of the model's answer; none if no model may be used."""
        if not (ask_model and self._model.enabled and context.known):
            return
        # A draft may not contain product names: they are untrusted data, a draft reads as ours.
        draft = "" if context.offline.products else context.offline.text
        messages = prompts.chat(context.message, context.history, context.candidates, draft)
        try:
            async with self._model.ask(messages, Deadline.after(self._budget)) as pieces:
                async for piece in pieces:
                    model_answer.model, model_answer.cut = piece.model, piece.cut
                    for sentence in model_answer.sentences.feed(piece.text):
                        yield self._check_sentence(model_answer, sentence)
            rest = model_answer.sentences.rest()
            if rest.strip() and not model_answer.cut:
                yield self._check_sentence(model_answer, rest)
            model_answer.complete = True
        except UpstreamUnavailable as error:
            log.info(
                "model unavailable, using template answer", extra={"reason": error.reason.value}
            )

    def _check_sentence(self, model_answer: "_ModelAnswer", sentence: str) -> str:
        checked = model_answer.grounding.check(sentence)
        self._sentence_outcomes.labels("dropped" if checked is None else "kept").inc()
        return checked or ""

    def _count(self, kind: str, answer: Answer) -> None:
        self._answers.labels(kind, OFFLINE if answer.source == OFFLINE else "model").inc()


class _ModelAnswer:
    """The state of a model's answer while it is streamed."""

    def __init__(self, context: ChatContext, languages: Languages) -> None:
        self._context = context
        self.sentences = Sentences()
        self.grounding = Grounding(
            [_offer(product) for product in context.candidates],
            context.message,
            languages,
            allowed_names=context.categories,
            german=context.query.language == "de",
        )
        self.model = ""
        self.cut = False
        self.complete = False

    @property
    def products(self) -> tuple[Product, ...]:
        """Products that the answer has named, in order."""
        return tuple(self._context.candidates[number] for number in self.grounding.named)

    def answer(self, text: str) -> Answer | None:
        """Return the answer, or None if it is incomplete or names none of the found products."""
        lacks_product = bool(self._context.offline.products) and not self.grounding.named
        if not self.complete or lacks_product or not text.strip():
            return None
        return Answer(text, self.products, self.model)


def _offer(product: Product) -> Offer:
    text = f"{product.category} {' '.join(product.tags)} {product.description}"
    return Offer(product.name, product.price, priced(product), frozenset(split(fold(text))))


def _append_offline(text: str, named: tuple[Product, ...], offline: Answer) -> Answer:
    """Append the template answer to the part that a failed model had already streamed."""
    separator = " " if text and not text[-1].isspace() else ""
    products = named + tuple(product for product in offline.products if product not in named)
    return Answer(text + separator + offline.text, products)
