"""Judge target without Docker: its processes, links and addresses."""

import asyncio
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fleet.clients.identity import IdentityProvider
from fleet.clients.mailbox import Mailbox
from fleet.errors import FleetError
from fleet.launcher import start_stop
from fleet.launcher.composition import Fleet
from fleet.launcher.settings import Settings
from fleet.processes.program import HOST
from fleet.processes.runner import Runner
from fleet.testing.temporary_servers import TemporaryServers
from tests.fleet_under_test import (
    NO_RATE_LIMIT,
    PORTS,
    REPLICA_PORTS,
    ROOT,
    SERVICES,
    free_ports,
    url_of,
)
from tests.judge.links import Link
from tests.judge.plan import PLACES, Surface

_LINKED = {
    "postgres": "POSTGRES_PORT",
    "mongo": "MONGODB_PORT",
    "kafka": "KAFKA_PORT",
    "mailbox": "MAILBOX_SMTP_PORT",
    "identity": "KEYCLOAK_PORT",
    "product-service": "PRODUCT_SERVICE_PORT",
    "order-service": "ORDER_SERVICE_PORT",
    "inventory-service": "INVENTORY_SERVICE_PORT",
}
_SERVERS = ("postgres", "mongo", "kafka", "mailbox", "identity")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses that the judge uses itself, without links in which faults are injected."""

    gateways: tuple[str, ...]
    orders_database: str
    inventory_database: str
    kafka: str
    mailbox: str
    identity: IdentityProvider

    @classmethod
    def embedded(cls, ports: Mapping[str, int], replicas: int = 1) -> "Addresses":
        """Return the addresses of a fleet on embedded servers; `ports` are keyed by variable."""
        base = f"postgresql://postgres:postgres@{HOST}:{ports['POSTGRES_PORT']}"
        gateways = ["GATEWAY_PORT", "GATEWAY_2_PORT"][:replicas]
        return cls(
            gateways=tuple(f"http://{HOST}:{ports[name]}" for name in gateways),
            orders_database=f"{base}/order_db",
            inventory_database=f"{base}/inventory_db",
            kafka=f"{HOST}:{ports['KAFKA_PORT']}",
            mailbox=f"http://{HOST}:{ports['MAILBOX_HTTP_PORT']}",
            identity=IdentityProvider(f"http://localhost:{ports['KEYCLOAK_PORT']}"),
        )


class Target(Protocol):
    """A fleet in which faults can be injected."""

    @property
    def addresses(self) -> Addresses:
        """Addresses of all parts."""

    @property
    def surface(self) -> Surface:
        """Faults that the target supports."""

    @property
    def links(self) -> Mapping[str, Link]:
        """The proxies, by the part they lead to."""

    @property
    def mailbox(self) -> Mailbox:
        """The mail server, with scripted faults if the target supports them."""

    async def up(self) -> None:
        """Start everything."""

    async def kill(self, part: str) -> None:
        """SIGKILL."""

    async def terminate(self, part: str) -> None:
        """Send SIGTERM and wait for the exit."""

    async def start(self, part: str) -> None:
        """Start the part unless it is running, and wait until it answers."""

    async def pause(self, part: str) -> None:
        """SIGSTOP."""

    async def resume(self, part: str) -> None:
        """SIGCONT."""

    async def arm_failpoint(self, part: str, place: str, seconds: float) -> bool:
        """Arm a failpoint. Return True if a process crashed there in that time."""

    async def restart_dead(self, part: str) -> None:
        """Restart the crashed replicas of a service."""

    async def restore(self) -> None:
        """Start all processes and remove all faults."""

    def keep_logs(self, folder: Path) -> None:
        """Copy the logs of all processes."""

    async def remove(self) -> None:
        """Stop the fleet and delete its data."""


@dataclass
class EmbeddedFleet:
    """A fleet on embedded servers, with its own folder and ports."""

    seed: int
    replicas: int = 1
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._servers = TemporaryServers()  # stopped even if this process is killed
        self._failpoints = self._servers.folder / "failpoints"
        self._ports = free_ports((*PORTS, *REPLICA_PORTS))
        self._fleet: Fleet | None = None
        self._links = {
            part: Link(part, self._ports[variable], self.seed) for part, variable in _LINKED.items()
        }

    @property
    def addresses(self) -> Addresses:
        return Addresses.embedded(self._ports, self.replicas)

    @property
    def links(self) -> Mapping[str, Link]:
        return self._links

    @property
    def surface(self) -> Surface:
        services = [*SERVICES]
        if self.replicas > 1:
            services += [f"{name}-2" for name in SERVICES]
        # The broker and the mailbox store data in memory, so they are paused, not killed.
        return Surface(
            killed=[*services, "postgres", "mongo", "identity"],
            paused=[*services, *_SERVERS],
            linked=list(self._links),
            places=True,
            mail=True,
        )

    @property
    def mailbox(self) -> Mailbox:
        return Mailbox(HOST, self._ports["MAILBOX_SMTP_PORT"], self.addresses.mailbox)

    def url(self, service: str) -> str:
        """Return the base URL of a service."""
        return url_of(service, self._ports)

    async def up(self) -> None:
        for service in PLACES:
            folder = self._failpoints / service
            folder.mkdir(parents=True)
        for link in self._links.values():
            await link.start()
        self._fleet = Fleet(Settings(ROOT, self._servers.folder, self._environment()))
        await asyncio.to_thread(start_stop.up, self._fleet)

    async def kill(self, part: str) -> None:
        await asyncio.to_thread(self._runner(part).kill)

    async def terminate(self, part: str) -> None:
        await asyncio.to_thread(self._runner(part).stop)

    async def start(self, part: str) -> None:
        """Start a part; retry while a dependency is unavailable."""
        runner = self._runner(part)
        for _ in range(5):
            try:
                await asyncio.to_thread(runner.start)
                return
            except FleetError:
                await asyncio.sleep(1.0)  # retry interval
        await asyncio.to_thread(runner.start)

    async def pause(self, part: str) -> None:
        with suppress(FleetError):  # it has crashed at a failpoint
            await asyncio.to_thread(self._runner(part).pause)

    async def resume(self, part: str) -> None:
        with suppress(FleetError):
            await asyncio.to_thread(self._runner(part).resume)

    async def arm_failpoint(self, part: str, place: str, seconds: float) -> bool:
        armed = self._failpoints / part / place
        fresh = armed.with_name(f".{secrets.token_hex(4)}")
        fresh.write_text("kill", encoding="ascii")
        fresh.rename(armed)  # atomic for concurrent readers
        deadline = asyncio.get_running_loop().time() + seconds
        while armed.exists() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        try:
            armed.unlink()
        except FileNotFoundError:
            return True
        return False

    async def restart_dead(self, part: str) -> None:
        for name in [part, f"{part}-2"][: self.replicas]:
            await self.start(name)

    async def restore(self) -> None:
        for folder in self._failpoints.iterdir():
            for armed in folder.iterdir():
                armed.unlink(missing_ok=True)
        for link in self._links.values():
            link.restore()
        for part in self._running_fleet.parts:
            await self.resume(part.name)
        await asyncio.to_thread(self.mailbox.set_faults)
        await asyncio.to_thread(start_stop.up, self._running_fleet)

    async def remove(self) -> None:
        for link in self._links.values():
            await link.stop()
        if self._fleet is not None:
            await asyncio.to_thread(start_stop.reset, self._fleet)
        self._servers.remove()

    def keep_logs(self, folder: Path) -> None:
        shutil.copytree(self._servers.folder / "logs", folder / "logs", dirs_exist_ok=True)

    @property
    def _running_fleet(self) -> Fleet:
        assert self._fleet is not None, "not started"
        return self._fleet

    def _runner(self, part: str) -> Runner:  # type: ignore[type-arg]
        return self._running_fleet.part(part).runner

    def _environment(self) -> dict[str, str]:
        via = {name: link.port for name, link in self._links.items()}
        return {
            **os.environ,
            **{name: str(port) for name, port in self._ports.items()},
            "FLEET_STATE": str(self._servers.folder),
            "FLEET_VIA": ",".join(f"{name}={port}" for name, port in via.items()),
            "FAILPOINTS": str(self._failpoints),
            "REPLICAS": str(self.replicas),
            "RATE_LIMIT_DEFAULT": NO_RATE_LIMIT,
            "RATE_LIMIT_AI": NO_RATE_LIMIT,
            "MAILBOX_MAX": "1000000",
            "MAIL_RETRY_SECONDS": "1",  # deferred mails arrive before the run is checked
            "OTEL_TRACES_SAMPLER_ARG": "0",
            **self.settings,
        }
