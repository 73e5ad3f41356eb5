"""The fleet that is judged, without Docker: its processes, links and addresses."""

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
    NO_LIMIT,
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
    """How the judge itself reaches the fleet; never by a link that is broken on purpose."""

    gateways: tuple[str, ...]
    orders_database: str
    inventory_database: str
    kafka: str
    mailbox: str
    identity: IdentityProvider

    @classmethod
    def embedded(cls, ports: Mapping[str, int], replicas: int = 1) -> "Addresses":
        """Of a fleet on embedded servers; `ports` by their variables."""
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
    """A fleet that can be broken."""

    @property
    def addresses(self) -> Addresses:
        """Where everything is."""

    @property
    def surface(self) -> Surface:
        """What can be broken."""

    @property
    def links(self) -> Mapping[str, Link]:
        """The ways that can be disturbed, by the part they lead to."""

    @property
    def mailbox(self) -> Mailbox:
        """The mail server, and its scripted faults where the surface has them."""

    async def up(self) -> None:
        """Start everything."""

    async def kill(self, part: str) -> None:
        """SIGKILL."""

    async def terminate(self, part: str) -> None:
        """SIGTERM, and the end awaited."""

    async def start(self, part: str) -> None:
        """Start it if it does not run, and wait until it answers."""

    async def pause(self, part: str) -> None:
        """SIGSTOP."""

    async def resume(self, part: str) -> None:
        """SIGCONT."""

    async def fires(self, part: str, place: str, seconds: float) -> bool:
        """Arm a failpoint; whether somebody died there in that time."""

    async def revive(self, part: str) -> None:
        """Start whoever of a service's replicas has died."""

    async def heal(self) -> None:
        """Everything runs, and every link passes everything on."""

    def keep_logs(self, folder: Path) -> None:
        """Copy what the processes have logged, for whoever has to find out why."""

    async def remove(self) -> None:
        """Stop it and throw its data away."""


@dataclass
class EmbeddedFleet:
    """On embedded servers, in a folder and on ports of its own."""

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
        # The broker and the mailbox keep what they have in memory: their outage is a pause.
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
        """A service's own address."""
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
        """A start that fails while something it needs is away is tried again."""
        runner = self._runner(part)
        for _ in range(5):
            try:
                await asyncio.to_thread(runner.start)
                return
            except FleetError:
                await asyncio.sleep(1.0)  # between two tries
        await asyncio.to_thread(runner.start)

    async def pause(self, part: str) -> None:
        with suppress(FleetError):  # it has died at a failpoint meanwhile
            await asyncio.to_thread(self._runner(part).pause)

    async def resume(self, part: str) -> None:
        with suppress(FleetError):
            await asyncio.to_thread(self._runner(part).resume)

    async def fires(self, part: str, place: str, seconds: float) -> bool:
        armed = self._failpoints / part / place
        fresh = armed.with_name(f".{secrets.token_hex(4)}")
        fresh.write_text("kill", encoding="ascii")
        fresh.rename(armed)  # whole at once for whoever looks
        deadline = asyncio.get_running_loop().time() + seconds
        while armed.exists() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        try:
            armed.unlink()
        except FileNotFoundError:
            return True
        return False

    async def revive(self, part: str) -> None:
        for name in [part, f"{part}-2"][: self.replicas]:
            await self.start(name)

    async def heal(self) -> None:
        for folder in self._failpoints.iterdir():
            for armed in folder.iterdir():
                armed.unlink(missing_ok=True)
        for link in self._links.values():
            link.heal()
        for part in self._whole.parts:
            await self.resume(part.name)
        await asyncio.to_thread(self.mailbox.set_faults)
        await asyncio.to_thread(start_stop.up, self._whole)

    async def remove(self) -> None:
        for link in self._links.values():
            await link.stop()
        if self._fleet is not None:
            await asyncio.to_thread(start_stop.reset, self._fleet)
        self._servers.remove()

    def keep_logs(self, folder: Path) -> None:
        shutil.copytree(self._servers.folder / "logs", folder / "logs", dirs_exist_ok=True)

    @property
    def _whole(self) -> Fleet:
        assert self._fleet is not None, "not started"
        return self._fleet

    def _runner(self, part: str) -> Runner:  # type: ignore[type-arg]
        return self._whole.part(part).runner

    def _environment(self) -> dict[str, str]:
        via = {name: link.port for name, link in self._links.items()}
        return {
            **os.environ,
            **{name: str(port) for name, port in self._ports.items()},
            "FLEET_STATE": str(self._servers.folder),
            "FLEET_VIA": ",".join(f"{name}={port}" for name, port in via.items()),
            "FAILPOINTS": str(self._failpoints),
            "REPLICAS": str(self.replicas),
            "RATE_LIMIT_DEFAULT": NO_LIMIT,
            "RATE_LIMIT_AI": NO_LIMIT,
            "MAILBOX_MAX": "1000000",
            "MAIL_RETRY_SECONDS": "1",  # deferred mails arrive before the run is checked
            "OTEL_TRACES_SAMPLER_ARG": "0",
            **self.settings,
        }
