"""The offline engine's words: what retrieval found, said in the asker's language."""

from collections.abc import Mapping
from decimal import Decimal

from app.retrieval.index import FIRM, CatalogueIndex, Found
from app.retrieval.language import Languages
from app.retrieval.query_parser import Wish
from app.services.answer import Answer, money, one_line, priced

_SHOWN = 4
_CATEGORIES = 12
_SERVICE = ("order", "delivery", "returns", "payment")
_SMALL_TALK = ("help", "greeting", "thanks")
_MAX_QUOTED = 60


class OfflineEngine:
    """Answers from retrieval alone. Does no I/O and names nothing that was not found."""

    def __init__(self, languages: Languages) -> None:
        self._languages = languages

    def away(self, wish: Wish) -> Answer:
        """The catalogue is not known at the moment."""
        replies = self._replies(wish)
        service = _service(wish)
        return Answer(replies[service] if service else replies["away"])

    def answer(self, wish: Wish, index: CatalogueIndex, found: Found) -> Answer:
        """One reply with what was found, or with what can be said without it."""
        replies = self._replies(wish)
        service = _service(wish)
        shown = found.products[: max(_SHOWN, found.parts)]
        firm = bool(found.hits) and found.hits[0].coverage >= FIRM
        if service and not (wish.about_products and firm):
            return Answer(replies[service])
        if not wish.about_products:
            return Answer(self._small_talk(wish, index, replies))
        if wish.price.impossible:
            low, high = (money(bound or Decimal(0)) for bound in (wish.price.low, wish.price.high))
            return Answer(replies["impossible"].format(low=low, high=high))
        if not shown:
            return Answer(self._nothing(wish, index, found, replies))
        lead = replies[self._lead(wish, found, firm)]
        text = f"{lead} {'; '.join(map(priced, shown))}."
        return Answer(f"{replies[service]} {text}" if service else text, shown)

    def _lead(self, wish: Wish, found: Found, firm: bool) -> str:
        if not firm or not found.complete:
            return "closest"
        if wish.order != "best":
            return wish.order
        return "one" if len(found.hits) == 1 else "some"

    def _small_talk(self, wish: Wish, index: CatalogueIndex, replies: Mapping[str, str]) -> str:
        for intent in _SMALL_TALK:
            if intent in wish.intents:
                text = replies[intent]
                if intent == "thanks" or not index.categories:
                    return text
                return f"{text} {self._categories(index, replies)}"
        return f"{replies['help']} {self._categories(index, replies)}"

    def _nothing(
        self, wish: Wish, index: CatalogueIndex, found: Found, replies: Mapping[str, str]
    ) -> str:
        if not len(index):
            return replies["empty"]
        if found.nearest_price is not None and not found.unknown:
            return replies["nothing_but"].format(price=money(found.nearest_price))
        if found.unknown:
            words = one_line(", ".join(found.unknown))[:_MAX_QUOTED]
            text = replies["nothing_for"].format(words=words)
        elif wish.price and not wish.wanted:
            text = replies["nothing_at_price"]
        else:
            text = replies["nothing"]
        return f"{text} {self._categories(index, replies)}"

    def _categories(self, index: CatalogueIndex, replies: Mapping[str, str]) -> str:
        names = [one_line(name) for name in index.categories[:_CATEGORIES]]
        return replies["categories"].format(categories=", ".join(names))

    def _replies(self, wish: Wish) -> Mapping[str, str]:
        return self._languages.by_code[wish.language].replies


def _service(wish: Wish) -> str | None:
    return next((intent for intent in _SERVICE if intent in wish.intents), None)
