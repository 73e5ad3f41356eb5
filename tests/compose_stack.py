"""The fleet of docker-compose.yml, with the interface of the embedded fleet."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from fleet.clients.mailbox import Mailbox
from fleet.emulators.traces.otlp import decode
from fleet.emulators.traces.store import Span, Trace
from tests.fleet_under_test import NO_RATE_LIMIT, ROOT, SCRAPE_TOKEN, STOREFRONT, Fleet

_DEFAULT_PORTS: Mapping[str, int] = {
    "PRODUCT_SERVICE_PORT": 8001,
    "ORDER_SERVICE_PORT": 8002,
    "INVENTORY_SERVICE_PORT": 8003,
    "NOTIFICATION_SERVICE_PORT": 8004,
    "AI_SERVICE_PORT": 8005,
    "GATEWAY_PORT": 9000,
    "GATEWAY_2_PORT": 9001,
    "KEYCLOAK_PORT": 8081,
    "KAFKA_PORT": 9092,
    "POSTGRES_PORT": 5433,
    "MONGODB_PORT": 27017,
    "MAILBOX_SMTP_PORT": 1025,
    "MAILBOX_HTTP_PORT": 8025,
    "KAFKA_UI_PORT": 8090,
    "PROMETHEUS_PORT": 9090,
    "TEMPO_PORT": 3200,
}
_NAMES = {"mailbox": "mailpit", "mongo": "mongodb", "identity": "keycloak"}


class RetryingMailbox(Mailbox):
    """Retry when a connection is dropped: tests kill the mailbox behind the engine's proxy."""

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        for _ in range(5):
            with contextlib.suppress(ConnectionError):
                return super()._call(method, path, body)
            time.sleep(0.2)  # retry interval
        return super()._call(method, path, body)


def spans_of(answer: Mapping[str, Any]) -> Iterator[Span]:
    """Yield the spans of Tempo's response, which is OTLP as JSON."""
    request = ExportTraceServiceRequest()
    ParseDict(answer["trace"], request, ignore_unknown_fields=True)
    return decode(request.SerializeToString())


class ComposeStack(Fleet):
    """Start containers that are not running, and leave the stack running afterwards."""

    def __init__(self) -> None:
        self._ports = {
            name: int(os.environ.get(name, port)) for name, port in _DEFAULT_PORTS.items()
        }
        self._environment = {
            **os.environ,
            "RATE_LIMIT_DEFAULT": NO_RATE_LIMIT,
            "RATE_LIMIT_AI": NO_RATE_LIMIT,
            "METRICS_TOKEN": SCRAPE_TOKEN,
            "CORS_ORIGINS": STOREFRONT,
        }

    def __call__(self, *command: str) -> str:
        action, *names = command
        services = [_NAMES.get(name, name) for name in names]
        match action:
            case "up":
                self._until(lambda states: "unhealthy" not in states)
                return self.compose("up", "--detach", "--wait", "--wait-timeout", "300")
            case "restart":
                self.compose("restart", *services)
                return self.until_healthy(*services)
            case "kill" | "pause":
                return self.compose(action, *services)
            case "resume":
                paused = self.compose("ps", "--status", "paused", "--services").split()
                waiting = [name for name in services if name in paused]
                if not waiting:
                    return ""
                self.compose("unpause", *waiting)
                return self.until_healthy(*waiting)
            case _:
                return self._run(sys.executable, "-m", "fleet", *command)

    def compose(self, *command: str) -> str:
        return self._run("docker", "compose", *command)

    def logs(self) -> dict[str, str]:
        """Return the logs of all containers by service."""
        names = self.compose("ps", "--all", "--services").split()
        return {name: self.log(name) for name in names}

    def log(self, name: str) -> str:
        return self.compose("logs", "--no-color", "--no-log-prefix", name)

    def trace(self, trace_id: str) -> Trace | None:
        answer = httpx2.get(f"{self.url('tempo')}/api/v2/traces/{trace_id}")
        if answer.status_code == 404:
            return None
        trace = Trace(trace_id)
        trace.spans = {span.span_id: span for span in spans_of(answer.raise_for_status().json())}
        return trace

    async def traces(self, http: httpx2.AsyncClient) -> dict[str, str]:
        tempo = self.url("tempo")
        found = await http.get(f"{tempo}/api/search", params={"limit": 1_000})
        ids = [trace["traceID"].zfill(32) for trace in found.raise_for_status().json()["traces"]]
        return {each: (await http.get(f"{tempo}/api/v2/traces/{each}")).text for each in ids}

    @property
    def mailbox(self) -> Mailbox:
        found = super().mailbox
        return RetryingMailbox(found.smtp_host, found.smtp_port, found.url)

    @property
    def environment(self) -> Mapping[str, str]:
        """Environment variables for docker compose."""
        return self._environment

    def port(self, variable: str) -> int:
        """Return a published port."""
        return self._ports[variable]

    def until_healthy(self, *services: str) -> str:
        self._until(lambda states: states == {"healthy"}, *services)
        return ""

    def _until(self, condition: Callable[[set[str]], bool], *services: str) -> None:
        """Wait until containers are healthy. `up --wait` fails at once if the latest health check
        failed, even if the container has recovered since."""
        until = time.monotonic() + 120
        while True:
            states = set(self.compose("ps", "--format", "{{.Health}}", *services).split())
            if condition(states):
                return
            assert time.monotonic() < until, f"{services or 'the stack'}: {states}"
            time.sleep(0.3)  # polling interval

    async def run_compose(self, *command: str) -> str:
        return await asyncio.to_thread(self.compose, *command)

    def remove(self) -> None:
        """Restore rate limits and scrape token."""
        self._environment = dict(os.environ)
        self("up")

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
        return done.stdout
