"""Tests that need real servers: kill of Kafka, Keycloak's tokens, graceful stop of containers."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx2
import pytest

from fleet.clients.identity import IdentityProvider
from tests.compose_stack import ComposeStack
from tests.e2e.test_faults import assert_nothing_lost, place_many, wait_for_confirmations
from tests.fleet_under_test import Shop, new_email

OURS = (
    "product-service",
    "order-service",
    "inventory-service",
    "notification-service",
    "ai-service",
    "api-gateway",
)


@pytest.fixture(autouse=True)
async def restore_fleet(fleet: ComposeStack) -> AsyncIterator[None]:
    yield
    await fleet.run("up")


async def test_kill_of_order_service_and_broker_during_100_orders_loses_none(
    fleet: ComposeStack, shop: Shop
) -> None:
    """Promises 10, 13, 16, 17, 24: kill -9 of both loses or duplicates no order, event or mail."""
    product, email = await shop.stock(1_000), new_email("docker")
    faults: list[asyncio.Task[None]] = []

    async def kill(name: str, seconds: float) -> None:
        await fleet.run("kill", name)
        await asyncio.sleep(seconds)  # duration of the outage
        await fleet.run("restart", name)

    def on_answer(count: int) -> None:
        if count == 25:
            faults.append(asyncio.create_task(kill("kafka", 5)))
        if count == 60:
            faults.append(asyncio.create_task(kill("order-service", 1)))

    ids = await place_many(shop, product, email, 100, on_answer)
    await asyncio.gather(*faults)
    assert len(faults) == 2
    assert len(set(ids)) == 100
    await assert_nothing_lost(shop, product, email, ids)
    # Recovery cancelled the unfinished orders, which have no event and no mail.
    await wait_for_confirmations(shop, email, ids, seconds=120)


async def test_token_of_published_issuer_is_accepted_at_gateway(
    fleet: ComposeStack, identity_server: IdentityProvider
) -> None:
    """The issuer's address is not reachable from the gateway's container, which has the keys."""
    url = f"{fleet.url('api-gateway')}/api/orders/me"
    async with httpx2.AsyncClient() as client:
        token = await asyncio.to_thread(identity_server.token, "alice")
        answer = await client.get(url, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        assert (await client.get(url)).status_code == 401
        forged = {"Authorization": f"Bearer {token[:-6]}AAAAAA"}
        assert (await client.get(url, headers=forged)).status_code == 401


@pytest.mark.parametrize("service", OURS)
async def test_container_is_non_root_and_read_only_and_stops_on_sigterm(
    fleet: ComposeStack, service: str
) -> None:
    program = "import os\nprint(os.getuid())\ntry: open('/srv/x', 'w')\nexcept OSError: print('no')"
    printed = fleet.compose("exec", "--no-TTY", service, "python", "-c", program)
    assert printed.split() == ["10001", "no"]
    began = time.monotonic()
    await fleet.run_compose("stop", service)
    assert time.monotonic() - began < 12  # SIGKILL would come after 15 s
    code = fleet.compose("ps", "--all", "--format", "{{.ExitCode}}", service).strip()
    assert code in ("0", "143")  # not 137 (SIGKILL); uvicorn re-raises SIGTERM after its shutdown
    assert "Finished server process" in fleet.compose("logs", "--tail", "5", service)
