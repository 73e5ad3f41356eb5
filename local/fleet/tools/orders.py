"""Place one order as a customer, and wait for its mail."""

from __future__ import annotations

import time
import uuid
from typing import Any

from fleet.clients.mailbox import Mailbox, Message
from fleet.errors import FleetError
from fleet.launcher.composition import Fleet
from fleet.processes.runner import wait_until
from fleet.terminal import say

USER = "alice"
BUYER = {"customer_name": "Alice Example", "customer_email": "alice@example.com"}
MAIL_TIMEOUT = 60.0
_PROGRESS_SECONDS = 2.0


def basket(products: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the body of an order for the first two products."""
    items = [
        {
            "product_id": product["id"],
            "product_name": product["name"],
            "quantity": quantity,
            "unit_price": product["price"],
        }
        for product, quantity in zip(products[:2], (1, 2), strict=True)
    ]
    return {**BUYER, "items": items}


def place(fleet: Fleet, body: dict[str, Any], token: str) -> dict[str, Any]:
    """POST the order to the gateway with a new idempotency key."""
    import httpx2

    url = fleet.service("api-gateway").url + "/api/orders"
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())}
    try:
        answer = httpx2.post(url, json=body, headers=headers, timeout=10, trust_env=False)
    except httpx2.TransportError as error:
        raise FleetError(f"api-gateway did not answer ({error}). See: make status") from error
    if answer.status_code != 201:
        raise FleetError(f"The order was refused with {answer.status_code}: {answer.text[:500]}")
    order: dict[str, Any] = answer.json()
    return order


def await_mail(mailbox: Mailbox, order: dict[str, Any]) -> Message:
    """Wait for the order's confirmation mail. Print progress every two seconds."""
    began = reported = time.monotonic()
    found: list[Message] = []

    def arrived() -> bool:
        nonlocal reported
        # By subject: a follow-up mail of ai-service may arrive first.
        about = f'to:{order["customer_email"]} subject:"{order["order_number"]} is confirmed"'
        found.extend(mailbox.messages(about))
        if not found and time.monotonic() - reported >= _PROGRESS_SECONDS:
            reported = time.monotonic()
            say(f"  waiting for the mail: {reported - began:.0f} s")
        return bool(found)

    if not wait_until(arrived, MAIL_TIMEOUT):
        raise FleetError(
            f"No mail for order {order['order_number']} within {MAIL_TIMEOUT:.0f} s. "
            "See: make logs s=notification-service"
        )
    return mailbox.message(found[0]["ID"])
