"""Creates the platform's topics at KAFKA_BOOTSTRAP_SERVERS; what exists stays as it is.

Run by docker-compose.yml in a service's image, with local/fleet/topics.py beside it: both fleets
have one table. It may run any number of times, and twice at once.
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
    said = {0: "created", _ALREADY_EXISTS: "was there already"}
    for name, code, *_ in answer.topic_errors:
        days = f"{TOPICS[name]} partitions, kept {RETENTION_DAYS[name]} days"
        print(f"{name} ({days}): {said.get(code, f'refused, error {code}')}", flush=True)
    if any(code not in said for _, code, *_ in answer.topic_errors):
        raise SystemExit(1)


if __name__ == "__main__":
    asyncio.run(create(os.environ["KAFKA_BOOTSTRAP_SERVERS"]))
