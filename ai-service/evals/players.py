"""The assistant that the evaluation runs against, without its HTTP routes."""

from typing import Any

from prometheus_client import CollectorRegistry

from app.clients.model_client import ModelClient
from app.config import Settings
from app.retrieval.index import CatalogueIndex
from app.retrieval.language import Languages, load_languages
from app.schemas.ai import Turn
from app.schemas.product import Product
from app.services.assistant import Assistant
from app.services.co_purchases import CoPurchases
from app.services.recommender import Recommender
from evals.scorer import Reply, rows


class FixedCatalogue:
    """A constant catalogue."""

    def __init__(self, index: CatalogueIndex) -> None:
        self._index = index

    def current(self) -> CatalogueIndex | None:
        return self._index


class Player:
    """Run evaluation cases against an assistant with the seed's catalogue."""

    def __init__(self, settings: Settings) -> None:
        registry = CollectorRegistry()
        self.languages: Languages = load_languages()
        self.catalogue = [Product.model_validate(row) for row in rows()]
        self.index = CatalogueIndex(self.catalogue, self.languages)
        self.model = ModelClient(settings, registry)
        self.assistant = Assistant(
            FixedCatalogue(self.index), self.model, self.languages, registry, settings
        )
        self.recommender = Recommender(CoPurchases(100))

    async def ask(self, case: dict[str, Any]) -> Reply:
        if case["kind"] == "recommend":
            found = self.recommender.recommend(self.index, case["text"], None, 5)
            return Reply("", found, "offline")
        if case["kind"] == "suggest":
            answer = await self.assistant.suggest(case["text"], ask_model=True)
        else:
            history = [Turn(role=role, content=text) for role, text in case.get("history", ())]
            answer = await self.assistant.chat(case["text"], history, ask_model=True)
        return Reply(answer.text, answer.products, answer.source)
