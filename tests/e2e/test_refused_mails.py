"""Mails refused by the mail server become dead letters, and a replay sends them after its repair.

The mail server of these tests listens on the loopback interface, which containers cannot reach.
"""

import secrets
from collections.abc import Iterator

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from fleet.processes.ports import free_port
from tests.e2e.test_dead_letters import GROUP, TOPIC, assert_one_mail_each, records_of
from tests.fleet_under_test import Fleet, Shop, new_email, until

pytestmark = pytest.mark.local  # of the mail server


class RefusingAll:
    """A mail server that refuses every recipient, as with a broken user database."""

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        return "550 5.1.1 no such user"


@pytest.fixture
def refusing() -> Iterator[dict[str, str]]:
    """Run a mail server that refuses every recipient. Return its settings."""
    controller = Controller(RefusingAll(), hostname="127.0.0.1", port=free_port())
    controller.start()
    yield {"SMTP_HOST": "127.0.0.1", "SMTP_PORT": str(controller.port)}
    controller.stop()


async def test_promise_28_replay_sends_mails_refused_by_broken_server(
    fleet: Fleet, shop: Shop, refusing: dict[str, str]
) -> None:
    product, email = await shop.stock(10), new_email(f"refused-{secrets.token_hex(2)}")
    with fleet.settings(refusing):
        await fleet.run("restart", GROUP)
        orders = [(await shop.place((product, 1), email=email)).json() for _ in range(6)]
        ids = {order["id"] for order in orders}

        async def all_buried() -> bool:
            dead_letters = await records_of(fleet, f"{TOPIC}.dlq")
            return {one.key.decode() for one in dead_letters if one.key} >= ids

        await until(all_buried, 60, "all six are dead letters")
    await fleet.run("restart", GROUP)
    assert not [one for one in await shop.mails_of(email) if one.endswith("is confirmed")]

    choice = (TOPIC, "--error", "RecipientRefused", "--yes")
    assert "Replayed 6." in await fleet.run("dlq", "replay", *choice)
    await shop.confirmed_by_mail(orders, seconds=60)
    assert "left out: 6, replayed already" in await fleet.run("dlq", "replay", *choice)
    await assert_one_mail_each(shop, orders)
