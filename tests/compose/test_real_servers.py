"""What only real servers show: Kafka killed and back, Keycloak's tokens, images that stop."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx2
import pytest

from fleet.clients.identity import IdentityProvider
from tests.compose_stack import ComposeStack
from tests.e2e.test_faults import mailed, nothing_is_lost, place_many
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
async def _whole_again(fleet: ComposeStack) -> AsyncIterator[None]:
    yield
    await fleet.run("up")


async def test_order_service_and_the_broker_are_killed_under_100_orders(
    fleet: ComposeStack, shop: Shop
) -> None:
    """Promises 10, 13, 16, 17, 24: kill -9 of both; no order, event or mail is lost or doubled."""
    product, email = await shop.stock(1_000), new_email("docker")
    faults: list[asyncio.Task[None]] = []

    async def kill(name: str, seconds: float) -> None:
        await fleet.run("kill", name)
        await asyncio.sleep(seconds)  # how long it is away
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
    await nothing_is_lost(shop, product, email, ids)
    # What was left half done was undone by recovery: it has no event and gets no mail.
    await mailed(shop, email, ids, seconds=120)


async def test_a_token_of_the_published_address_is_good_at_the_gateway(
    fleet: ComposeStack, identity_server: IdentityProvider
) -> None:
    """Its issuer is localhost; the gateway, where that is itself, has the keys all the same."""
    url = f"{fleet.url('api-gateway')}/api/orders/me"
    async with httpx2.AsyncClient() as client:
        token = await asyncio.to_thread(identity_server.token, "alice")
        answer = await client.get(url, headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200, answer.text
        assert (await client.get(url)).status_code == 401
        forged = {"Authorization": f"Bearer {token[:-6]}AAAAAA"}
        assert (await client.get(url, headers=forged)).status_code == 401


@pytest.mark.parametrize("service", OURS)
async def test_a_container_runs_without_root_on_a_read_only_disk_and_stops_by_itself(
    fleet: ComposeStack, service: str
) -> None:
    program = "import os\nprint(os.getuid())\ntry: open('/srv/x', 'w')\nexcept OSError: print('no')"
    said = fleet.compose("exec", "--no-TTY", service, "python", "-c", program)
    assert said.split() == ["10001", "no"]
    began = time.monotonic()
    await fleet.run_compose("stop", service)
    assert time.monotonic() - began < 12  # SIGKILL would come after 15 s
    code = fleet.compose("ps", "--all", "--format", "{{.ExitCode}}", service).strip()
    assert code in ("0", "143")  # not 137: uvicorn ends by the signal that it was sent, at the end
    assert "Finished server process" in fleet.compose("logs", "--tail", "5", service)
