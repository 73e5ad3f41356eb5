"""Compose the mail for each event from the templates in app/templates."""

from email.utils import parseaddr
from html import unescape
from pathlib import Path
from typing import Any

import nh3
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from app.events import AiNotificationReady, InventoryLow, OrderCancelled, OrderPlaced
from app.mail import MAX_SUBJECT, Mail, one_line
from chassis.kafka.events import Envelope

_TEMPLATES = Path(__file__).parent.parent / "templates"
_ALLOWED = {"p", "br", "b", "strong", "i", "em", "u", "ul", "ol", "li", "h2", "h3", "blockquote"}
_FORMATTED = nh3.Cleaner(tags=_ALLOWED, attributes={}, clean_content_tags={"script", "style"})
_BARE = nh3.Cleaner(tags=set())
_BREAKS = ("</p>", "<br>", "</li>", "</h2>", "</h3>", "</blockquote>")


class EmailTemplates:
    """Composes mails.

    Args:
        sender: a form such as `Some Shop <shop@example.com>`; its name signs the mails.
        alert_email: the recipient of low stock alerts.
    """

    def __init__(self, sender: str, alert_email: str) -> None:
        self._alert_email = parseaddr(alert_email)[1]
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=select_autoescape(["html"], disabled_extensions=("txt",), default=True),
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["money"] = lambda amount: f"{amount:,.2f}"
        self._templates.globals.clear()  # each render copies them; no template uses jinja's own
        self._templates.globals["shop"] = parseaddr(sender)[0] or "The Shop"

    def order_confirmation(self, event: OrderPlaced) -> Mail:
        number = one_line(event.order_number)
        subject = f"Your order {number} is confirmed"
        return self._render(event, "order_placed", event.customer_email, subject)

    def order_cancellation(self, event: OrderCancelled) -> Mail:
        number = one_line(event.order_number)
        subject = f"Your order {number} was cancelled"
        return self._render(event, "order_cancelled", event.customer_email, subject)

    def low_stock_alert(self, event: InventoryLow) -> Mail:
        name = one_line(event.product_name)[:120]
        subject = f"Low stock: {name} ({event.available_qty} left)"
        return self._render(event, "inventory_low", self._alert_email, subject)

    def follow_up(self, event: AiNotificationReady) -> Mail:
        """Compose a mail from a language model's text, which is untrusted."""
        number = one_line(event.order_number)
        subject = one_line(event.subject)
        if number not in subject[:MAX_SUBJECT]:
            suffix = f" ({number})"
            subject = subject[: MAX_SUBJECT - len(suffix)] + suffix
        body = sanitise(event.body_html)
        fields = {"body_html": body, "body_text": to_text(body)}
        return self._render(event, "ai_follow_up", event.customer_email, subject, **fields)

    def _render(
        self, event: Envelope, template: str, recipient: str, subject: str, **fields: Any
    ) -> Mail:
        context = {"event": event, "subject": subject, **fields}
        return Mail(
            event_id=event.event_id,
            event_type=event.event_type,
            recipient=recipient,
            subject=subject,
            text=self._templates.get_template(f"{template}.txt").render(context),
            html=self._templates.get_template(f"{template}.html").render(context),
        )


def sanitise(html: str) -> str:
    """Remove all markup except plain formatting: no attributes, links, images or scripts."""
    return _FORMATTED.clean(html)


def to_text(sanitised: str) -> str:
    """Return the text of sanitised HTML, a line for each block."""
    for tag in _BREAKS:
        sanitised = sanitised.replace(tag, f"{tag}\n")
    lines = unescape(_BARE.clean(sanitised)).splitlines()
    return "\n".join(line.strip() for line in lines).strip()
