"""A process with a relay in it, for a test to stop: `relay_worker.py <database url>`."""

import asyncio
import sys
from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from chassis.postgres.relay import OutboxRelay


async def swallow(_topic: str, _key: str, _value: bytes, _headers: Mapping[str, str]) -> None:
    """Acknowledge a record without storing it."""


async def main() -> None:
    OutboxRelay(sys.argv[1], swallow, registry=CollectorRegistry()).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
