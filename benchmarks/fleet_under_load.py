"""The measured fleet: embedded servers, default settings, its own folder and ports."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import psutil

from fleet.launcher import start_stop
from fleet.launcher.composition import Fleet
from fleet.launcher.settings import Settings
from fleet.processes.program import HOST
from fleet.testing.temporary_servers import TemporaryServers
from fleet.tools.seed import seed
from tests.fleet_under_test import GATEWAY, NO_RATE_LIMIT, PORTS, ROOT, SERVICES, free_ports, url_of
from tests.judge.target import Addresses

CUSTOMER = "alice"
EMAIL = "alice@example.com"


@dataclass(slots=True)
class Cpu:
    """CPU seconds (user and system) by process."""

    seconds: dict[str, float] = field(default_factory=dict)

    def of(self, *names: str) -> float:
        return sum(self.seconds[name] for name in names)

    @property
    def services(self) -> float:
        return self.of(*SERVICES)


class FleetUnderLoad:
    """One fleet from its cold start to its removal, with the default settings."""

    def __init__(self) -> None:
        self._servers = TemporaryServers()  # stopped even if this process is killed
        self._ports = free_ports(PORTS)
        environment = {
            **os.environ,
            **{name: str(port) for name, port in self._ports.items()},
            "FLEET_STATE": str(self._servers.folder),
            "RATE_LIMIT_DEFAULT": NO_RATE_LIMIT,  # requests are counted but never limited
            "RATE_LIMIT_AI": NO_RATE_LIMIT,
            "MAILBOX_MAX": "1000000",
            # The default of the services. The local fleet samples every trace.
            "OTEL_TRACES_SAMPLER_ARG": "0.05",
        }
        self._fleet = Fleet(Settings(ROOT, self._servers.folder, environment))

    def up(self) -> float:
        """Start the fleet; return the seconds until every part is ready."""
        began = time.monotonic()
        start_stop.up(self._fleet)
        return time.monotonic() - began

    def down(self) -> None:
        start_stop.down(self._fleet)

    def remove(self) -> None:
        start_stop.reset(self._fleet)
        self._servers.remove()

    def seed(self) -> None:
        seed(self._fleet)

    def url(self, service: str) -> str:
        return url_of(service, self._ports)

    @property
    def gateway(self) -> str:
        return self.url(GATEWAY)

    @property
    def mongo(self) -> str:
        return f"mongodb://{HOST}:{self._ports['MONGODB_PORT']}"

    @property
    def addresses(self) -> Addresses:
        return Addresses.embedded(self._ports)

    def bearer(self, user: str = CUSTOMER) -> dict[str, str]:
        """Return the Authorization header of a demo user."""
        return {"Authorization": f"Bearer {self.addresses.identity.token(user)}"}

    def catalogue(self) -> list[dict[str, Any]]:
        """Return the products of product-service."""
        url = f"{self.url('product-service')}/api/products?page_size=100"
        products: list[dict[str, Any]] = httpx2.get(url, timeout=15).json()["products"]
        return products

    def stock_up(self, products: Sequence[dict[str, Any]], pieces: int) -> dict[str, int]:
        """Restock each product; return product id → quantity."""
        inventory, there = self.url("inventory-service") + "/api/inventory", {}
        with httpx2.Client(timeout=15) as http:
            for product in products:
                url = f"{inventory}/{product['id']}/restock"
                there[product["id"]] = int(
                    http.patch(url, json={"quantity": pieces}).raise_for_status().json()["quantity"]
                )
        return there

    @contextmanager
    def cpu(self) -> Iterator[Cpu]:
        """Measure the CPU seconds of each process during the block."""
        spent, before = Cpu(), self._cpu_times()
        yield spent
        spent.seconds.update(
            {name: after - before[name] for name, after in self._cpu_times().items()}
        )

    def memory(self) -> dict[str, tuple[float, float]]:
        """Return RSS and PSS of each service in MB."""
        found = {}
        for name in SERVICES:
            full = self._process(name).memory_full_info()
            found[name] = (full.rss / 1e6, full.pss / 1e6)
        return found

    def rss(self, name: str) -> float:
        """Return the RSS of a running part in MB."""
        return self._process(name).memory_info().rss / 1e6

    def stop(self, name: str) -> None:
        start_stop.stop([self._fleet.part(name)])

    def start(self, name: str) -> None:
        """Start a part; return when it is ready."""
        self._fleet.part(name).runner.start()

    def pid(self, name: str) -> int:
        return self._process(name).pid

    def _process(self, name: str) -> psutil.Process:
        identity = self._fleet.part(name).runner.identity
        assert identity is not None, f"{name} does not run"  # noqa: S101
        return psutil.Process(identity.pid)

    def _cpu_times(self) -> dict[str, float]:
        return {
            part.name: sum(
                sum(process.cpu_times()[:2])
                for process in (part.runner.identity.family() if part.runner.identity else ())
            )
            for part in self._fleet.parts
        }
