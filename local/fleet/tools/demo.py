"""``make demo``: start the fleet, seed it, place an order and show its mail."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fleet.clients.mailbox import Message
from fleet.launcher.addresses import show_addresses
from fleet.launcher.composition import Fleet, Part
from fleet.launcher.start_stop import down, up
from fleet.processes.process_identity import Identity
from fleet.terminal import complain, paint, say
from fleet.tools.orders import USER, await_mail, basket, place
from fleet.tools.seed import seed

_LOOK_EVERY = 0.5
_AUTHORIZATION = '-H "Authorization: Bearer $TOKEN"'


def demo(fleet: Fleet, *, once: bool) -> None:
    """Place an order and show its mail, then keep running until Ctrl-C unless ``once``.

    Stops every part that it has started, also after a failure.
    """
    with _end_on_signal() as ended:
        before = [part.name for part in fleet.parts if part.runner.alive()]
        try:
            began = time.monotonic()
            up(fleet)
            _order(fleet, began)
            if not once:
                _show_what_to_try(fleet)
                _watch(fleet, ended)
        except KeyboardInterrupt:
            say()
        finally:
            _leave(fleet, before)


def _leave(fleet: Fleet, before: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not interrupt the stop
    mine = [part for part in fleet.parts if part.name not in before]
    if before:
        say(f"Still running, as before the demo: {', '.join(before)}. Stop with: make down")
    if mine and any(part.runner.identity for part in mine):
        say("Stopping ...")
        down(fleet, mine)


def _order(fleet: Fleet, began: float) -> None:
    products = seed(fleet)
    token = fleet.identity.log_in(USER, USER)["access_token"]
    say(f"Logged in as {USER} at {fleet.identity.issuer}.")
    asked = time.monotonic()
    order = place(fleet, basket(products), token)
    say(
        f"Order {paint(order['order_number'], 'bold')}: {order['status']}, "
        f"total {order['total_amount']:.2f}, response in {(time.monotonic() - asked) * 1000:.0f} ms"
    )
    for item in order["items"]:
        say(f"  {item['quantity']} x {item['product_name']}  {item['unit_price']:.2f}")
    mailbox = fleet.mailbox()
    if mailbox is None:
        say("Its mail is sent through your own SMTP server (SMTP_HOST).")
        return
    mail = await_mail(mailbox, order)
    _show_mail(mail, time.monotonic() - asked, time.monotonic() - began)


def _show_mail(mail: Message, after_order: float, after_start: float) -> None:
    people = ", ".join(person["Address"] for person in mail["To"])
    say(f"Mail to {people}, {after_order:.1f} s after the order, {after_start:.1f} s after start:")
    say(f"  {paint(mail['Subject'], 'bold')}")
    lines = [line for line in mail["Text"].splitlines() if line.strip()]
    for line in lines[:12]:
        say(f"  {paint('|', 'dim')} {line}")


def _show_what_to_try(fleet: Fleet) -> None:
    gateway = fleet.service("api-gateway").url
    say()
    show_addresses(fleet)
    say("\nTry it:")
    say(f"  TOKEN=$(make -s token u={USER})   # valid for five minutes")
    say(f"  curl '{gateway}/api/products/search?q=coffee'")
    say(f"  curl {gateway}/api/orders/me {_AUTHORIZATION}")
    say(f"  {_curl_order(fleet)}")
    say(
        "\nBreak it, in another terminal: make status | kill s=... | pause s=kafka | resume s=kafka"
    )
    say(paint("Running until Ctrl-C.", "bold"))


def _curl_order(fleet: Fleet) -> str:
    body: dict[str, Any] = basket(seed_sample(fleet))
    text = json.dumps(body, ensure_ascii=False).replace("'", "\\u0027")
    url = fleet.service("api-gateway").url
    return f"curl {url}/api/orders {_AUTHORIZATION} -H 'Content-Type: application/json' -d '{text}'"


def seed_sample(fleet: Fleet) -> list[dict[str, Any]]:
    """Return two products from product-service."""
    _, page = fleet.service("product-service").ask("/api/products?page=1&page_size=2")
    products: list[dict[str, Any]] = page["products"]
    return products


def _watch(fleet: Fleet, ended: threading.Event) -> None:
    """Report each process that dies, once, with the end of its log."""
    reported: set[Identity] = set()
    while not ended.wait(_LOOK_EVERY):
        if not any(part.runner.identity for part in fleet.parts):
            say("Another command has stopped the fleet.")
            return
        for part in fleet.parts:
            identity = part.runner.identity
            if identity is None or identity in reported or part.runner.alive():
                continue
            reported.add(identity)
            _report_death(part)


def _report_death(part: Part) -> None:
    complain(f"\n{part.runner.describe_death()}\n")


@contextmanager
def _end_on_signal() -> Iterator[threading.Event]:
    """Treat SIGTERM and SIGHUP as Ctrl-C, so that no process is left running."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield ended
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
