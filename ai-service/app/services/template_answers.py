"""Answer from templates in the customer's language, without a model."""

from collections.abc import Mapping
from decimal import Decimal

from app.retrieval.index import CONFIDENT_COVERAGE, CatalogueIndex, SearchResult
from app.retrieval.language import Languages
from app.retrieval.query_parser import ParsedQuery
from app.services.answer import Answer, money, one_line, priced

_SHOWN = 4
_CATEGORIES = 12
_SERVICE = ("order", "delivery", "returns", "payment")
_SMALL_TALK = ("help", "greeting", "thanks")
_MAX_QUOTED = 60


class TemplateAnswers:
    """Word a search result. Does no I/O, and names only products of the result."""

    def __init__(self, languages: Languages) -> None:
        self._languages = languages

    def catalogue_unavailable(self, query: ParsedQuery) -> Answer:
        """Return the answer for an unavailable catalogue."""
        replies = self._replies(query)
        service = _service(query)
        return Answer(replies[service] if service else replies["away"])

    def answer(self, query: ParsedQuery, index: CatalogueIndex, found: SearchResult) -> Answer:
        """Return the answer for a search result, a service question or small talk."""
        replies = self._replies(query)
        service = _service(query)
        shown = found.products[: max(_SHOWN, found.parts)]
        confident = bool(found.hits) and found.hits[0].coverage >= CONFIDENT_COVERAGE
        if service and not (query.about_products and confident):
            return Answer(replies[service])
        if not query.about_products:
            return Answer(self._small_talk(query, index, replies))
        if query.price.impossible:
            low, high = (
                money(bound or Decimal(0)) for bound in (query.price.low, query.price.high)
            )
            return Answer(replies["impossible"].format(low=low, high=high))
        if not shown:
            return Answer(self._nothing(query, index, found, replies))
        lead = replies[self._lead(query, found, confident)]
        text = f"{lead} {'; '.join(map(priced, shown))}."
        return Answer(f"{replies[service]} {text}" if service else text, shown)

    def _lead(self, query: ParsedQuery, found: SearchResult, confident: bool) -> str:
        if not confident or not found.complete:
            return "closest"
        if query.order != "best":
            return query.order
        return "one" if len(found.hits) == 1 else "some"

    def _small_talk(
        self, query: ParsedQuery, index: CatalogueIndex, replies: Mapping[str, str]
    ) -> str:
        for intent in _SMALL_TALK:
            if intent in query.intents:
                text = replies[intent]
                if intent == "thanks" or not index.categories:
                    return text
                return f"{text} {self._categories(index, replies)}"
        return f"{replies['help']} {self._categories(index, replies)}"

    def _nothing(
        self,
        query: ParsedQuery,
        index: CatalogueIndex,
        found: SearchResult,
        replies: Mapping[str, str],
    ) -> str:
        if not len(index):
            return replies["empty"]
        if found.nearest_price is not None and not found.unknown:
            return replies["nothing_but"].format(price=money(found.nearest_price))
        if found.unknown:
            words = one_line(", ".join(found.unknown))[:_MAX_QUOTED]
            text = replies["nothing_for"].format(words=words)
        elif query.price and not query.keywords:
            text = replies["nothing_at_price"]
        else:
            text = replies["nothing"]
        return f"{text} {self._categories(index, replies)}"

    def _categories(self, index: CatalogueIndex, replies: Mapping[str, str]) -> str:
        names = [one_line(name) for name in index.categories[:_CATEGORIES]]
        return replies["categories"].format(categories=", ".join(names))

    def _replies(self, query: ParsedQuery) -> Mapping[str, str]:
        return self._languages.by_code[query.language].replies


def _service(query: ParsedQuery) -> str | None:
    return next((intent for intent in _SERVICE if intent in query.intents), None)
