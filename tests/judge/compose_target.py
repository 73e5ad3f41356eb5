"""Judge target in Docker: containers, including the broker, are killed and paused.

There are no failpoints and no links, because no proxy is between two containers.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from fleet.clients.mailbox import Mailbox
from tests.compose_stack import ComposeStack
from tests.fleet_under_test import SERVICES
from tests.judge.links import Link
from tests.judge.plan import Surface
from tests.judge.target import Addresses

_SERVERS = {
    "postgres": "postgres",
    "mongo": "mongodb",
    "kafka": "kafka",
    "mailbox": "mailpit",
    "identity": "keycloak",
}


class ComposeFleet:
    """The stack of docker-compose.yml. It keeps running after the run.

    Args:
        replicas: 2 needs the stack to be up with docker/scale.env.
    """

    def __init__(self, seed: int, replicas: int = 1) -> None:
        self._stack = ComposeStack()
        self._replicas = replicas
        self.links: Mapping[str, Link] = {}

    @property
    def addresses(self) -> Addresses:
        environment, stack = self._stack.environment, self._stack
        orders = environment.get("ORDER_DB_PASSWORD") or "demo-orders"
        inventory = environment.get("INVENTORY_DB_PASSWORD") or "demo-inventory"
        host = f"127.0.0.1:{stack.port('POSTGRES_PORT')}"
        ports = ["GATEWAY_PORT", "GATEWAY_2_PORT"][: self._replicas]
        return Addresses(
            gateways=tuple(f"http://127.0.0.1:{stack.port(name)}" for name in ports),
            orders_database=f"postgresql://orders:{orders}@{host}/order_db",
            inventory_database=f"postgresql://inventory:{inventory}@{host}/inventory_db",
            kafka=stack.kafka,
            mailbox=f"http://127.0.0.1:{stack.port('MAILBOX_HTTP_PORT')}",
            identity=stack.identity,
        )

    @property
    def surface(self) -> Surface:
        """The mailbox is paused only: it stores mails in memory and has no scripted faults."""
        services = [*SERVICES]
        if self._replicas > 1:
            services += [f"{name}-2" for name in SERVICES]
        broken = [*services, "postgres", "mongo", "kafka"]
        return Surface(
            killed=broken, paused=[*broken, "mailbox"], linked=(), places=False, mail=False
        )

    @property
    def mailbox(self) -> Mailbox:
        return self._stack.mailbox

    async def up(self) -> None:
        await self._stack.run("up")

    async def kill(self, part: str) -> None:
        await self._compose("kill", part)

    async def terminate(self, part: str) -> None:
        await self._compose("stop", part)

    async def start(self, part: str) -> None:
        # Not `start`, which fails while a dependency is unhealthy.
        await self._compose("restart", part)
        await asyncio.to_thread(self._stack.until_healthy, _container(part))

    async def pause(self, part: str) -> None:
        with suppress(AssertionError):  # it is not running
            await self._compose("pause", part)

    async def resume(self, part: str) -> None:
        with suppress(AssertionError):
            await self._compose("unpause", part)

    async def arm_failpoint(self, part: str, place: str, seconds: float) -> bool:
        raise NotImplementedError("the images have no failpoints")

    async def restart_dead(self, part: str) -> None:
        await self.start(part)

    async def restore(self) -> None:
        paused = self._stack.compose("ps", "--status", "paused", "--services").split()
        if paused:
            await self._stack.run_compose("unpause", *paused)
        await self._stack.run("up")

    def keep_logs(self, folder: Path) -> None:
        (folder / "containers.log").write_text(self._stack.compose("logs", "--timestamps"))

    async def remove(self) -> None:
        """Restore the rate limits. The stack keeps running."""
        await asyncio.to_thread(self._stack.remove)

    async def _compose(self, action: str, part: str) -> None:
        await self._stack.run_compose(action, _container(part))


def _container(part: str) -> str:
    return _SERVERS.get(part, part)
