"""Write the follow-up mail of an order, independent of its confirmation."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from uuid import uuid5

from prometheus_client import CollectorRegistry, Counter

from app.clients.model_client import ModelClient
from app.clients.model_connection import Message
from app.config import Settings
from app.events import AI_NOTIFICATION_READY, AiNotificationReady, OrderPlaced
from app.retrieval.language import Languages
from app.schemas.product import Product
from app.services import prompts
from app.services.answer import OFFLINE, money, one_line, priced
from app.services.assistant import Catalogue
from app.services.grounding import Grounding, Offer
from app.services.recommender import Recommender
from app.services.sanitising import Sanitiser
from app.services.sentences import Sentences
from chassis.http_client.client import UpstreamUnavailable
from chassis.http_client.deadline import Deadline

log = logging.getLogger(__name__)

Send = Callable[[str, str, bytes, dict[str, str]], Awaitable[None]]

_MAX_LISTED_ITEMS = 6  # items of one order
_NAME = 80
_MAX_FIRST_NAME = 40
_MAX_SUBJECT = 200


@dataclass(frozen=True, slots=True)
class _Suggestion:
    product: Product
    bought_together: bool


class FollowUps:
    """Handle order-placed: write a follow-up and publish it as ai-notification-ready.

    Args:
        send: `EventProducer.send`, which returns when the broker has acknowledged the record.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        recommender: Recommender,
        model: ModelClient,
        languages: Languages,
        send: Send,
        registry: CollectorRegistry,
        settings: Settings,
    ) -> None:
        self._catalogue = catalogue
        self._recommender = recommender
        self._model = model
        self._sanitiser = Sanitiser(settings.follow_up_link_prefixes)
        self._languages = languages
        self._send = send
        self._budget = settings.model_budget_seconds
        self._max_age = timedelta(hours=settings.follow_up_max_age_hours)
        self._counter = Counter(
            "follow_ups", "Follow-ups by source, or skipped", ["by"], registry=registry
        )

    async def order_placed(self, event: OrderPlaced) -> None:
        """Write and send the follow-up. The caller commits the offset after this returns.

        After a redelivery, or a crash before the commit, the follow-up is sent again with the same
        event id; notification-service deduplicates by it.
        """
        if datetime.now(UTC) - event.timestamp > self._max_age:
            self._counter.labels("skipped").inc()
            return
        ready = await self.compose(event)
        await self._send(AI_NOTIFICATION_READY, str(event.order_id), ready.to_bytes(), {})
        self._counter.labels(OFFLINE if ready.source == OFFLINE else "model").inc()
        log.info("follow-up sent", extra={"event_id": str(ready.event_id), "source": ready.source})

    async def compose(self, event: OrderPlaced) -> AiNotificationReady:
        """Return the follow-up. Its event id is derived from the id of the order's event."""
        suggestion = self._suggestion(event)
        written = await self._written_by_model(event, suggestion)
        text, source = written or (_offline_text(event, suggestion), OFFLINE)
        hint = "one thing that goes with it" if suggestion else "thank you"
        name = _first_name(event.customer_name)
        salutation = f"Dear {name}," if name else "Hello,"
        body = f"<p>{escape(salutation)}</p>{text}"
        number = one_line(event.order_number)
        return AiNotificationReady(
            event_id=uuid5(event.event_id, AI_NOTIFICATION_READY),
            order_id=event.order_id,
            order_number=event.order_number,
            customer_name=event.customer_name,
            customer_email=event.customer_email,
            subject=f"Your order {number}: {hint}"[:_MAX_SUBJECT],
            body_html=self._sanitiser.clean(body),
            source=source,
        )

    def _suggestion(self, event: OrderPlaced) -> _Suggestion | None:
        """Return the best product that is in stock and not in the order."""
        index = self._catalogue.current()
        if index is None:
            return None
        ids = [item.product_id for item in event.items]
        ordered = [product for each in ids if (product := index.get(each)) is not None]
        names = {one_line(item.product_name).lower() for item in event.items}
        for product in self._recommender.fitting(index, ordered[:_MAX_LISTED_ITEMS]):
            if product.stock_quantity > 0 and one_line(product.name).lower() not in names:
                together = self._recommender.bought_together(product.id, ids)
                return _Suggestion(product, together)
        return None

    async def _written_by_model(
        self, event: OrderPlaced, suggestion: _Suggestion | None
    ) -> tuple[str, str] | None:
        """Return HTML and the model's name, or None if it failed or did not name the products."""
        if not self._model.enabled:
            return None
        ordered = _ordered(event)
        offers = [Offer(name, None, name) for _, name in ordered]
        product = suggestion.product if suggestion else None
        if product is not None:
            offers.append(Offer(product.name, product.price, priced(product)))
        grounding = Grounding(offers, "", self._languages)
        messages = prompts.follow_up(ordered, product, _why(suggestion))
        try:
            source, kept = await self._sentences(messages, grounding)
        except UpstreamUnavailable as error:
            log.info(
                "model unavailable, using template follow-up", extra={"reason": error.reason.value}
            )
            return None
        suggested = {len(ordered)} if suggestion else set()
        named = set(grounding.named)
        if not kept or not suggested <= named or not named - suggested:
            return None
        return f"<p>{escape(''.join(kept).strip())}</p>", source

    async def _sentences(
        self, messages: Sequence[Message], grounding: Grounding
    ) -> tuple[str, list[str]]:
        sentences = Sentences()
        kept: list[str] = []
        source, cut = "", False
        async with self._model.ask(messages, Deadline.after(self._budget)) as pieces:
            async for piece in pieces:
                source, cut = piece.model, piece.cut
                kept += [c for s in sentences.feed(piece.text) if (c := grounding.check(s))]
        rest = "" if cut else sentences.rest()
        if rest.strip() and (checked := grounding.check(rest)):
            kept.append(checked)
        return source, kept


def _ordered(event: OrderPlaced) -> list[tuple[int, str]]:
    return [
        (item.quantity, one_line(item.product_name)[:_NAME])
        for item in event.items[:_MAX_LISTED_ITEMS]
    ]


def _offline_text(event: OrderPlaced, suggestion: _Suggestion | None) -> str:
    parts = [
        (f"{quantity} x " if quantity > 1 else "") + f"<b>{escape(name)}</b>"
        for quantity, name in _ordered(event)
    ]
    more = len(event.items) - len(parts)
    if more > 0:
        parts.append(f"{more} more")
    listed = " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)
    text = f"<p>thank you for choosing {listed}.</p>"
    if suggestion is None:
        return text
    product = suggestion.product
    name, price = escape(one_line(product.name)), money(product.price)
    about = escape(_first_sentence(prompts.without_instructions(one_line(product.description))))
    lead = (
        "Others who ordered this also took" if suggestion.bought_together else "It goes well with"
    )
    return f"{text}<p>{lead} <b>{name}</b> ({price}).{' ' + about if about else ''}</p>"


def _why(suggestion: _Suggestion | None) -> str:
    together = suggestion is not None and suggestion.bought_together
    return "others ordered both" if together else "it is of a similar kind"


def _first_sentence(text: str) -> str:
    first = text.split(". ")[0].strip()[:200]
    return f"{first.rstrip('.')}." if first else ""


def _first_name(name: str) -> str:
    """Return the first name for the salutation, which is not sent to the model."""
    words = one_line(name).split()
    return words[0][:_MAX_FIRST_NAME] if words else ""
