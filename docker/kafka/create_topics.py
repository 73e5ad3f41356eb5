"""Create the platform's missing topics on KAFKA_BOOTSTRAP_SERVERS. Idempotent.

docker-compose.yml runs it in a service's image and mounts local/fleet/topics.py beside it, so that
Docker and the local fleet share one table of topics.
"""

import asyncio
import os

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from topics import RETENTION_DAYS, TOPICS

_ALREADY_EXISTS = 36
_DAY_MS = 86_400_000


async def create(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=20_000)
    await admin.start()
    try:
        wanted = [
            NewTopic(
                name,
                partitions,
                replication_factor=1,
                topic_configs={"retention.ms": str(RETENTION_DAYS[name] * _DAY_MS)},
            )
            for name, partitions in TOPICS.items()
        ]
        answer = await admin.create_topics(wanted)
    finally:
        await admin.close()
    states = {0: "created", _ALREADY_EXISTS: "already exists"}
    for name, code, *_ in answer.topic_errors:
        days = f"{TOPICS[name]} partitions, retention {RETENTION_DAYS[name]} days"
        print(f"{name} ({days}): {states.get(code, f'refused, error {code}')}", flush=True)
    if any(code not in states for _, code, *_ in answer.topic_errors):
        raise SystemExit(1)


if __name__ == "__main__":
    asyncio.run(create(os.environ["KAFKA_BOOTSTRAP_SERVERS"]))
