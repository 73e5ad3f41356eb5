"""A pytest plugin: real servers for integration tests, started at most once per session.

Enable it with ``pytest_plugins = ["fleet.testing.fixtures"]`` in the top conftest.py. Addresses
are strings: ``postgres_url``, ``kafka_bootstrap``, ``mongo_url``, ``redis_url``. A test can
pause or kill the servers: ``postgres_server``, ``kafka_server``, ``mongo_server``,
``redis_server``, ``mailbox``, ``identity_server``. An existing server is used instead if one of
``TEST_DATABASE_URL``, ``TEST_KAFKA_BOOTSTRAP_SERVERS``, ``TEST_MONGODB_URL``, ``TEST_REDIS_URL``,
``TEST_KEYCLOAK_URL``, or ``TEST_SMTP_URL`` with ``TEST_MAILBOX_URL`` names it. A test that requests
the server itself is then skipped, because it must not stop an external server.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import pytest

from fleet.clients.identity import IdentityProvider
from fleet.clients.mailbox import Mailbox
from fleet.processes.ports import free_port
from fleet.processes.program import Port, run_async
from fleet.processes.runner import Runner
from fleet.servers.identity import IdentityServer
from fleet.servers.kafka import KafkaServer
from fleet.servers.mailbox import MailboxServer
from fleet.servers.mongo import MongoServer
from fleet.servers.postgres import PostgresServer, drop_database, ensure_databases
from fleet.servers.valkey import ValkeyServer
from fleet.testing.temporary_servers import TemporaryServers


@pytest.fixture(scope="session")
def _servers() -> Iterator[TemporaryServers]:
    # Fixtures kill their servers: a graceful shutdown of temporary data would take seconds.
    servers = TemporaryServers()
    yield servers
    servers.remove()


@pytest.fixture(scope="session")
def postgres_server(_servers: TemporaryServers) -> Iterator[Runner[PostgresServer]]:
    """The PostgreSQL server: ``stop()``, ``start()``, ``kill()``, ``pause()``, ``resume()``."""
    _ours_to_break("TEST_DATABASE_URL")
    server = PostgresServer(_servers.folder, Port(free_port()), durable=False)
    runner = _servers.start(server)
    yield runner
    runner.kill()


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A ``postgresql+asyncpg`` URL of a fresh, empty database; dropped after the session."""
    external = os.environ.get("TEST_DATABASE_URL")
    if external:
        admin = urlunsplit(urlsplit(external)._replace(scheme="postgresql"))
    else:
        server: Runner[PostgresServer] = request.getfixturevalue("postgres_server")
        admin = server.program.url("postgres")
    name = f"test_{secrets.token_hex(6)}"
    run_async(ensure_databases(admin, [name]))
    yield urlunsplit(urlsplit(admin)._replace(scheme="postgresql+asyncpg", path=f"/{name}"))
    if external or server.alive():
        run_async(drop_database(admin, name))


@pytest.fixture(scope="session")
def kafka_server(_servers: TemporaryServers) -> Iterator[Runner[KafkaServer]]:
    """The broker, with the platform's topics: ``pause()``, ``resume()``, ``restart()``, ``kill()``.

    ``program.create_topics({name: partitions})`` creates more, also after a restart.
    """
    _ours_to_break("TEST_KAFKA_BOOTSTRAP_SERVERS")
    runner = _servers.start(KafkaServer(_servers.folder, Port(free_port())))
    yield runner
    runner.kill()


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """The address of a broker."""
    external = os.environ.get("TEST_KAFKA_BOOTSTRAP_SERVERS")
    if external:
        return external
    server: Runner[KafkaServer] = request.getfixturevalue("kafka_server")
    return server.program.bootstrap


@pytest.fixture(scope="session")
def mongo_server(_servers: TemporaryServers) -> Iterator[Runner[MongoServer]]:
    """The MongoDB server: ``stop()``, ``start()``, ``kill()``, ``pause()``, ``resume()``."""
    _ours_to_break("TEST_MONGODB_URL")
    runner = _servers.start(MongoServer(_servers.folder, Port(free_port())))
    yield runner
    runner.kill()


@pytest.fixture(scope="session")
def mongo_url(request: pytest.FixtureRequest) -> str:
    """The address of a MongoDB server; each test suite chooses its own database name."""
    external = os.environ.get("TEST_MONGODB_URL")
    if external:
        return external
    server: Runner[MongoServer] = request.getfixturevalue("mongo_server")
    return server.program.url()


@pytest.fixture(scope="session")
def redis_server(_servers: TemporaryServers) -> Iterator[Runner[ValkeyServer]]:
    """The Valkey server: ``stop()``, ``start()``, ``kill()``, ``pause()``, ``resume()``."""
    _ours_to_break("TEST_REDIS_URL")
    runner = _servers.start(ValkeyServer(_servers.folder, Port(free_port())))
    yield runner
    runner.kill()


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """The address of a server with Redis's protocol; each test chooses its own keys."""
    external = os.environ.get("TEST_REDIS_URL")
    if external:
        return external
    server: Runner[ValkeyServer] = request.getfixturevalue("redis_server")
    return server.program.url


@pytest.fixture(scope="session")
def identity_server(request: pytest.FixtureRequest) -> Iterator[IdentityProvider]:
    """The provider: ``issuer``, ``jwks_url``, ``token("alice")``, ``stop()``, ``start()``."""
    external = os.environ.get("TEST_KEYCLOAK_URL")
    if external:
        yield IdentityProvider(external)
        return
    servers: TemporaryServers = request.getfixturevalue("_servers")
    runner = servers.start(IdentityServer(servers.folder, Port(free_port())))
    yield IdentityProvider(runner.program.url, runner)
    runner.kill()


@pytest.fixture(scope="session")
def mailbox(request: pytest.FixtureRequest) -> Iterator[Mailbox]:
    """A mailbox: addresses, ``messages()``, ``wait_for()``, ``clear()``, ``stop()``/``start()``."""
    smtp, page = os.environ.get("TEST_SMTP_URL"), os.environ.get("TEST_MAILBOX_URL")
    if smtp and page:
        address = urlsplit(smtp)
        yield Mailbox(address.hostname or "127.0.0.1", address.port or 25, page)
        return
    servers: TemporaryServers = request.getfixturevalue("_servers")
    server = MailboxServer(servers.folder, Port(free_port()), Port(free_port()))
    runner = servers.start(server)
    yield Mailbox("127.0.0.1", server.smtp_port, server.url, runner)
    runner.kill()


def _ours_to_break(variable: str) -> None:
    if os.environ.get(variable):
        pytest.skip(f"{variable} names a server that these tests must not stop")
