"""Compose the fleet: which programs it starts and the addresses that services receive.

A server that the user names by its URL is not started.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar
from urllib.parse import urlsplit

from fleet.clients.identity import IdentityProvider
from fleet.clients.mailbox import Mailbox
from fleet.errors import FleetError, NotReady
from fleet.launcher.external import External
from fleet.launcher.service_program import ServiceProgram
from fleet.launcher.settings import Settings
from fleet.processes.program import HOST, Command, Program
from fleet.processes.runner import Runner
from fleet.servers.identity import IdentityServer
from fleet.servers.kafka import KafkaServer, create_topics
from fleet.servers.mailbox import MailboxServer
from fleet.servers.mongo import MongoServer
from fleet.servers.postgres import PostgresServer
from fleet.servers.topics_page import TopicsPageServer
from fleet.servers.traces import TracesServer
from fleet.servers.valkey import ValkeyServer
from fleet.services import SERVICES, Service, present
from fleet.topics import TOPICS

ASYNCPG = "postgresql+asyncpg"
DATABASES = ("order_db", "inventory_db")
_LIMITS = "RATE_LIMIT_STORAGE_URI"
_COLLECTOR = "OTEL_EXPORTER_OTLP_ENDPOINT"


@dataclass(frozen=True)
class Part:
    """One program of the fleet, and the names of the parts that must be ready before it."""

    runner: Runner[Program]
    needs: tuple[str, ...]
    is_service: bool

    @property
    def name(self) -> str:
        """The program's name."""
        return self.runner.name

    @property
    def is_replica(self) -> bool:
        """Whether this is a second process of a service."""
        return self.is_service and self.name[-1].isdigit()


class Leftover(Program):
    """A program of which only the pid file is known. It can be stopped but not started."""

    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # all programs stop quickly on SIGINT

    def command(self) -> Command:
        """Raise: the command is unknown."""
        raise FleetError(f"{self.name} is not part of this fleet.")

    def check(self) -> None:
        """Raise: the protocol is unknown."""
        raise NotReady("unknown")


class Fleet:
    """All parts, servers first, and the external servers that the user has named."""

    def __init__(self, settings: Settings) -> None:
        """Read ports and addresses. Start nothing."""
        self.settings = settings
        self.externals: list[External] = []
        self.parts: list[Part] = []
        self._detours = settings.detours()
        self._numbers = range(1, settings.replicas + 1)
        self._addresses = {
            service.name.replace("-", "_"): ",".join(
                f"http://{HOST}:{self._way(replica.name, self._port(replica))}"
                for replica in map(service.replica, self._numbers)
            )
            for service in SERVICES
        }
        self._mailbox: MailboxServer | None = None
        self._compose_postgres()
        self._compose_mongo()
        self._compose_kafka()
        self.topics_page = self._compose_topics_page()
        self._compose_mailbox()
        self.identity = self._compose_identity()
        self.traces = self._compose_traces()
        self._compose_limits()
        mailbox = self.mailbox()
        self._addresses |= {
            "mailbox_url": mailbox.url if mailbox else "",
            "kafka_ui_url": self.topics_page.url,
            "traces_url": self.traces.url if self.traces else "",
        }
        for service in present(settings.root):
            for number in self._numbers:
                self._compose_service(service.replica(number))

    def part(self, name: str) -> Part:
        """Return the part with this whole name; the error for another name suggests one."""
        found = next((part for part in self.parts if part.name == name), None)
        if found is None:
            raise FleetError(self._unknown(name))
        return found

    def part_by_prefix(self, name: str) -> Part:
        """Return the part with this name or, if exactly one first replica starts with it, that."""
        started = [
            part
            for part in self.parts
            if name and part.name.startswith(name) and not part.is_replica
        ]
        exact = any(part.name == name for part in self.parts)
        return started[0] if len(started) == 1 and not exact else self.part(name)

    def _unknown(self, name: str) -> str:
        names = [part.name for part in self.parts]
        known = f"Known here: {', '.join(names)}."
        if not name:
            return f"Say which one with s=<name>. {known}"
        close = [each for each in names if each.startswith(name)] or get_close_matches(name, names)
        suggestion = f" Did you mean {' or '.join(close)}?" if close else ""
        return f"There is no part {name!r}; give the whole name.{suggestion} {known}"

    def runs_itself(self, name: str) -> bool:
        """Return whether the fleet starts this server itself."""
        return any(part.name == name for part in self.parts)

    def leftovers(self) -> list[Part]:
        """Return processes of an earlier start that the current settings do not include."""
        names = {path.stem for path in (self.settings.state / "run").glob("*.json")}
        return [
            Part(Runner(Leftover(name, []), self.settings.state), (), is_service=False)
            for name in sorted(names - {part.name for part in self.parts})
        ]

    def service(self, name: str) -> ServiceProgram:
        """Return a service's program by its name."""
        program = self.part(name).runner.program
        if not isinstance(program, ServiceProgram):
            raise FleetError(f"{name} is not a service.")
        return program

    @property
    def kafka(self) -> str:
        """The bootstrap servers of the broker, embedded or external."""
        return self._addresses["kafka"]

    def mailbox(self) -> Mailbox | None:
        """Return the embedded mailbox, or None if mails go to an external SMTP server."""
        server = self._mailbox
        return Mailbox(HOST, server.smtp_port, server.url) if server else None

    def _compose_postgres(self) -> None:
        own: list[str] = []
        for database in DATABASES:
            variable = f"{database.removesuffix('_db').upper()}_DATABASE_URL"
            url = self.settings.given(variable)
            if url is None:
                own.append(database)
                continue
            url = f"{ASYNCPG}://{url.partition('://')[2]}"
            self._addresses[database] = url
            self._external(f"postgres ({database})", url, 5432, variable)
        if own:
            port = self.settings.port("POSTGRES_PORT", 5433)
            server = PostgresServer(self.settings.state, port, own)
            self._server(server)
            way = self._way(server.name, server.port)
            self._addresses.update({name: server.url(name, ASYNCPG, way) for name in own})

    def _compose_mongo(self) -> None:
        url = self.settings.given("MONGODB_URL")
        if url is None:
            port = self.settings.port("MONGODB_PORT", 27017)
            server = MongoServer(self.settings.state, port)
            self._server(server)
            url = server.url(self._way(server.name, server.port))
        elif not url.startswith("mongodb+srv://"):
            self._external("mongo", url, 27017, "MONGODB_URL")
        self._addresses["mongo"] = url

    def _compose_kafka(self) -> None:
        servers = self.settings.given("KAFKA_BOOTSTRAP_SERVERS")
        if servers is None:
            port = self.settings.port("KAFKA_PORT", 9092)
            server = KafkaServer(self.settings.state, port, way=self._detours.get("kafka"))
            self._server(server)
            self._addresses["kafka"] = f"{HOST}:{self._way(server.name, server.port)}"
            return
        self._addresses["kafka"] = servers
        first = f"kafka://{servers.split(',')[0].strip()}"
        self._external(
            "kafka",
            first,
            9092,
            "KAFKA_BOOTSTRAP_SERVERS",
            lambda: create_topics(servers, TOPICS),
        )

    def _compose_topics_page(self) -> TopicsPageServer:
        """Add the topics page. It has no start dependencies: it shows an absent broker itself."""
        port = self.settings.port("KAFKA_UI_PORT", 8090)
        server = TopicsPageServer(self.settings.state, port, self.kafka)
        self._server(server)
        return server

    def _compose_mailbox(self) -> None:
        host = self.settings.given("SMTP_HOST")
        if host is not None:
            self._addresses["smtp_host"] = host
            self._addresses["smtp_port"] = self.settings.given("SMTP_PORT") or "587"
            return
        self._mailbox = MailboxServer(
            self.settings.state,
            self.settings.port("MAILBOX_SMTP_PORT", 1025),
            self.settings.port("MAILBOX_HTTP_PORT", 8025),
            self.settings.given("MAILBOX_MAX"),
        )
        self._server(self._mailbox)
        self._addresses["smtp_host"] = HOST
        self._addresses["smtp_port"] = str(self._way(self._mailbox.name, self._mailbox.smtp_port))

    def _compose_identity(self) -> IdentityProvider:
        """Add the identity provider. No service waits for it."""
        url = self.settings.given("KEYCLOAK_URL")
        if url is None:
            server = IdentityServer(self.settings.state, self.settings.port("KEYCLOAK_PORT", 8081))
            self._server(server)
            url = server.url
        else:
            port = 443 if url.startswith("https://") else 80
            self._external("identity", url, port, "KEYCLOAK_URL")
        provider = IdentityProvider(url)
        self._addresses["oidc_issuer"] = provider.issuer
        self._addresses["oidc_jwks_url"] = provider.jwks_url
        if "identity" in self._detours:
            way = IdentityProvider(f"http://localhost:{self._detours['identity']}")
            self._addresses["oidc_jwks_url"] = way.jwks_url
        return provider

    def _compose_traces(self) -> TracesServer | None:
        """Add the trace receiver, unless spans go to an external collector."""
        if self.settings.given(_COLLECTOR) is not None:
            return None
        server = TracesServer(self.settings.state, self.settings.port("TRACES_PORT", 4318))
        self._server(server)
        return server

    def _compose_limits(self) -> None:
        """Add a shared store for the rate limits of two gateways."""
        if len(self._numbers) == 1 or self.settings.given(_LIMITS) is not None:
            return
        server = ValkeyServer(self.settings.state, self.settings.port("VALKEY_PORT", 6379))
        self._server(server)
        self._addresses["limits"] = server.url

    def _compose_service(self, service: Service) -> None:
        env = {"ENVIRONMENT": "local", **self._fill(service.defaults), **self.settings.env}
        env.update(self._fill(service.env))
        if "limits" in self._addresses:
            env[_LIMITS] = self._addresses["limits"]
        if self.traces is not None:
            env[_COLLECTOR] = self.traces.url
            # Sample every trace; the services' own default is one in twenty.
            env["OTEL_TRACES_SAMPLER_ARG"] = self.settings.given("OTEL_TRACES_SAMPLER_ARG") or "1"
        if self.settings.given("KAFKA_BOOTSTRAP_SERVERS") is None:
            env["KAFKA_ENABLE_IDEMPOTENCE"] = "false"  # not supported by the embedded broker
            # On the embedded broker a join takes half of the session timeout: 3 s instead of 15.
            env["KAFKA_SESSION_SECONDS"] = self.settings.given("KAFKA_SESSION_SECONDS") or "6"
        if (failpoints := self.settings.given("FAILPOINTS")) is not None:
            env["FAILPOINTS"] = f"{failpoints}/{service.folder}"  # shared by the replicas
        program = ServiceProgram(
            service.name,
            self.settings.port(service.port_variable, service.default_port),
            self.settings.root / service.folder,
            env,
            migrations=service.migrations,
            own_server=service.own_server,
        )
        self._add(program, service.needs, is_service=True)

    def _way(self, name: str, port: int) -> int:
        """Return the port through which services reach a part."""
        return self._detours.get(name, port)

    def _port(self, service: Service) -> int:
        return self.settings.port(service.port_variable, service.default_port).number

    def _fill(self, values: Mapping[str, str]) -> dict[str, str]:
        return {name: value.format(**self._addresses) for name, value in values.items()}

    def _external(
        self,
        name: str,
        url: str,
        port: int,
        variable: str,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        address = urlsplit(url.partition(",")[0])
        host = address.hostname or HOST
        self.externals.append(External(name, host, address.port or port, variable, prepare))

    def _server(self, program: Program) -> None:
        self._add(program, (), is_service=False)

    def _add(self, program: Program, needs: Sequence[str], *, is_service: bool) -> None:
        runner = Runner(program, self.settings.state)
        self.parts.append(Part(runner, tuple(needs), is_service))
