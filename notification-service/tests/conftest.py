"""Fixtures of the integration tests: replicas of the service, a producer, the mailbox."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from chassis.kafka.producer import EventProducer
from fleet.clients.mailbox import Mailbox
from fleet.processes.ports import free_port
from tests.samples import encoded

pytest_plugins = ["fleet.testing.fixtures"]

HERE = Path(__file__).parent.parent
WORKERS = 3
REAL_BROKER = "TEST_KAFKA_BOOTSTRAP_SERVERS" in os.environ
"""An external broker; the embedded one does not support idempotent producers."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use no worker processes for single tests: they start faster, and `-s` shows their output."""
    return 0 if any("::" in argument for argument in config.args) else WORKERS


async def until(condition: Callable[[], bool], timeout: float = 40.0, what: str = "") -> None:
    """Wait until the condition holds; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout:.0f} s: {what}"
        await asyncio.sleep(0.1)


class Replica:
    """One process of the service, with its log."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.log = log
        self._environment = {**os.environ, **environment}
        self._http = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=5)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "app.main:app"]
        command += ["--port", str(self.port), "--http", "httptools", "--no-access-log"]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command, cwd=HERE, env=self._environment, stdout=output, stderr=output
            )

    def get(self, path: str) -> httpx2.Response:
        return self._http.get(path)

    def readiness(self) -> tuple[int, dict[str, str]]:
        """Return the status code (0 without a response) and the state of each dependency."""
        try:
            response = self.get("/health/ready")
        except httpx2.TransportError:
            return 0, {}
        table = response.json()["dependencies"]
        return response.status_code, {name: row["status"] for name, row in table.items()}

    async def ready(self) -> None:
        await until(lambda: self.readiness()[0] == 200, what=f"ready; log: {self.log.read_text()}")

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        total = 0.0
        for line in self.get("/metrics").text.splitlines():
            head, _, value = line.rpartition(" ")
            wanted = all(f'{key}="{label}"' in head for key, label in labels.items())
            if head.split("{")[0] == name and wanted:
                total += float(value)
        return total

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop it with a signal and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        await until(lambda: self.process is None or self.process.poll() is not None, 12, "exit")
        return self.process.wait()

    def terminate(self) -> None:
        """Stop it gracefully: a killed member keeps its partitions until its session ends."""
        self._http.close()
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def clean_up(self) -> None:
        """Wait for its end; kill it after 12 s."""
        if self.process is not None:
            try:
                self.process.wait(timeout=12)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Post:
    """The mails in the mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self._ids: dict[str, str] = {}

    def counts(self) -> Counter[str]:
        """Return the number of mails by event id."""
        found: Counter[str] = Counter()
        for message in self.mailbox.messages():
            mail_id = message["ID"]
            if mail_id not in self._ids:
                self._ids[mail_id] = self.mailbox.headers(mail_id)["X-Event-Id"][0]
            found[self._ids[mail_id]] += 1
        return found

    async def complete(self, events: list[dict[str, Any]], timeout: float = 40.0) -> Counter[str]:
        """Wait until each event has its mail; return how many mails each of them has.

        Mails of other events are left out: an earlier test may have left deferred ones.
        """
        wanted = {event["event_id"] for event in events}
        await until(lambda: wanted <= self.counts().keys(), timeout, f"{len(wanted)} mails")
        return Counter({each: count for each, count in self.counts().items() if each in wanted})


class Wire:
    """Publishes events as the other services do."""

    def __init__(self, producer: EventProducer) -> None:
        self.producer = producer

    async def publish(self, topic: str, event: dict[str, Any]) -> None:
        key = event.get("order_id", event.get("product_id", ""))
        await self.producer.send(topic, key, encoded(event), {})

    async def publish_raw(self, topic: str, key: str, value: bytes) -> None:
        await self.producer.send(topic, key, value, {})


@pytest.fixture(scope="session")
def environment(kafka_bootstrap: str, mailbox: Mailbox) -> dict[str, str]:
    return {
        "ENVIRONMENT": "test",
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KAFKA_ENABLE_IDEMPOTENCE": str(REAL_BROKER),
        "KAFKA_SESSION_SECONDS": "6",
        "SMTP_HOST": mailbox.smtp_host,
        "SMTP_PORT": str(mailbox.smtp_port),
        "SMTP_STARTTLS": "false",
        "MAIL_FROM": "Demo Shop <shop@example.com>",
        "ALERT_EMAIL": "stock@example.com",
    }


@pytest.fixture
def replicas(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Make replicas, not started yet, and stop those that still run after the test."""
    yield from _replicas(environment, tmp_path)


@pytest.fixture(scope="class")
def shared_replicas(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Replica]]:
    """Like `replicas`, for the tests of a class that leave their replicas as they were."""
    yield from _replicas(environment, tmp_path_factory.mktemp("replicas"))


def _replicas(environment: dict[str, str], folder: Path) -> Iterator[Callable[..., Replica]]:
    made: list[Replica] = []

    def make(**changes: str) -> Replica:
        replica = Replica(environment | changes, folder / f"replica-{len(made)}.log")
        made.append(replica)
        return replica

    yield make
    for replica in made:
        replica.terminate()
    for replica in made:
        replica.clean_up()


@pytest.fixture
async def wire(kafka_bootstrap: str) -> AsyncIterator[Wire]:
    producer = EventProducer(
        kafka_bootstrap, "test", idempotence=False, registry=CollectorRegistry()
    )
    await producer.start()
    yield Wire(producer)
    await producer.stop()


@pytest.fixture
def post(mailbox: Mailbox) -> Iterator[Post]:
    mailbox.clear()
    mailbox.set_faults()
    yield Post(mailbox)
    mailbox.set_faults()


def log_lines(replica: Replica) -> list[dict[str, Any]]:
    return [json.loads(line) for line in replica.log.read_text().splitlines()]
