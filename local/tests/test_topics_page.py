"""The topics page: display, search and errors; it creates no group or offset at the broker."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import struct
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from fleet.processes.ports import free_port
from fleet.processes.program import Port, run_async
from fleet.processes.runner import Runner
from fleet.servers.kafka import KafkaServer, create_topics
from fleet.servers.topics_page import TopicsPageServer
from fleet.testing.temporary_servers import TemporaryServers
from fleet.tools.dead_letters.dead_letter import Address
from fleet.tools.dead_letters.outcomes import DROPPED, REPLAYED, outcome_record
from fleet.topics import DEAD_LETTERS_DONE, TOPICS

Headers = Sequence[tuple[str, bytes]]


@pytest.fixture(scope="module")
def servers() -> Iterator[TemporaryServers]:
    servers = TemporaryServers()
    yield servers
    servers.remove()


@pytest.fixture(scope="module")
def page(servers: TemporaryServers, kafka_bootstrap: str) -> Iterator[Runner[TopicsPageServer]]:
    runner = servers.start(TopicsPageServer(servers.folder, Port(free_port()), kafka_bootstrap))
    yield runner
    runner.kill()


@pytest.fixture
def topic(kafka_bootstrap: str) -> str:
    """Create a topic of three partitions with a unique name."""
    return made(kafka_bootstrap, f"shown-{secrets.token_hex(4)}")


def made(bootstrap: str, topic: str, partitions: int = 3) -> str:
    create_topics(bootstrap, {topic: partitions})
    return topic


def get(page: Runner[TopicsPageServer], path: str) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", page.program.port, timeout=40)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def get_json(page: Runner[TopicsPageServer], path: str) -> Any:
    status, body, _ = get(page, path)
    assert status == 200, body
    return json.loads(body)


def messages_of(page: Runner[TopicsPageServer], topic: str, query: str = "") -> Any:
    return get_json(page, f"/api/topics/{topic}/messages{query}")["messages"]


def topic_of(page: Runner[TopicsPageServer], topic: str) -> Any:
    topics = get_json(page, "/api/topics")["topics"]
    return next(found for found in topics if found["name"] == topic)


def send(
    bootstrap: str,
    topic: str,
    values: Sequence[bytes | None],
    *,
    key: bytes | None = None,
    headers: Headers = (),
    partition: int | None = None,
) -> None:
    """Write all values in few batches: the embedded broker reports a wrong end of a batch."""

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=50)
        await producer.start()
        try:
            for value in values:
                await producer.send(topic, value, key, partition, headers=list(headers))
        finally:
            await producer.stop()  # flushes the buffer

    run_async(run())


def test_every_topic_is_listed_with_partitions(page: Runner[TopicsPageServer]) -> None:
    found = {topic["name"]: topic for topic in get_json(page, "/api/topics")["topics"]}
    assert {name: len(found[name]["partitions"]) for name in TOPICS} == dict(TOPICS)
    assert found["order-placed.dlq"]["open_dead_letters"] == 0
    assert found["order-placed"]["open_dead_letters"] is None
    assert "inventory-low.dlq" in get(page, "/")[1]


def test_message_count_includes_end_of_batch(
    page: Runner[TopicsPageServer], kafka_bootstrap: str, topic: str
) -> None:
    for size in (1, 10, 25):
        send(kafka_bootstrap, topic, [b"{}"] * size, partition=0)
    assert topic_of(page, topic)["partitions"][0] == {"first": 0, "end": 36}


def test_latest_messages_of_each_partition_are_newest_first(
    page: Runner[TopicsPageServer], kafka_bootstrap: str, topic: str
) -> None:
    for partition in range(3):
        values = [b"%d" % number for number in range(40)]
        send(kafka_bootstrap, topic, values, partition=partition, headers=[("event", b"made")])
    found = messages_of(page, topic, "?n=5")
    assert [found[number]["offset"] for number in range(5)] == [39, 38, 37, 36, 35]
    assert len(found) == 15
    assert found[0]["headers"] == [{"name": "event", "value": "made"}]
    assert found[0]["value"] == 39


def test_search_matches_key_headers_and_value_ignoring_case(
    page: Runner[TopicsPageServer], kafka_bootstrap: str, topic: str
) -> None:
    send(kafka_bootstrap, topic, [b'{"city": "Bern"}'], key=b"order-1")
    send(kafka_bootstrap, topic, [b"{}"], key=b"order-2", headers=[("trace", b"CAFE")])
    late = b'{"text": "%s the end"}' % (b"x" * 50_000)
    send(kafka_bootstrap, topic, [late], key=b"order-3")

    def keys(query: str) -> list[str]:
        return [found["key"] for found in messages_of(page, topic, f"?q={quote(query)}")]

    assert keys("bERN") == ["order-1"]
    assert keys("cafe") == ["order-2"]
    assert keys("order-2") == ["order-2"]
    assert keys("the end") == ["order-3"]
    assert keys("order-4") == []


def test_any_value_is_shown_and_truncated(
    page: Runner[TopicsPageServer], kafka_bootstrap: str, topic: str
) -> None:
    nasty = [
        b"",
        b"\xff\x00 not utf-8",
        b'"\\ud800"',
        b"[" * 10_000,
        b"1" * 10_000,
        b"NaN",
        b"1e999",
        b"z" * 900_000,
    ]
    send(kafka_bootstrap, topic, nasty, partition=1)
    send(kafka_bootstrap, topic, [None], key=b"\xfe", headers=[("h", b"\xff"), ("", b"")])
    found = messages_of(page, topic)
    assert len(found) == 9
    assert max(len(str(message["value"])) for message in found) < 20_000
    assert max(message["bytes"] for message in found) == 900_000
    status, body, _ = get(page, f"/topic/{topic}")
    assert status == 200
    assert len(body) < 200_000
    assert "The beginning of 900,000 bytes." in body


def test_response_size_of_values_is_bounded(
    page: Runner[TopicsPageServer], kafka_bootstrap: str, topic: str
) -> None:
    for partition in range(3):
        send(kafka_bootstrap, topic, [b"z" * 6_000] * 700, partition=partition)
    found = messages_of(page, topic, "?n=1000")
    assert len(found) == 2_100
    assert 7_000_000 < sum(len(message["value"]) for message in found) <= 8_000_000


def test_message_content_is_escaped(
    page: Runner[TopicsPageServer], kafka_bootstrap: str, topic: str
) -> None:
    nasty = b"<script>alert(1)</script>'\""
    dead = made(kafka_bootstrap, f"{topic}.dlq")
    headers = [(nasty.decode(), nasty), ("x-error-class", nasty), ("x-consumer-group", nasty)]
    for name in (topic, dead):
        send(kafka_bootstrap, name, [nasty], key=nasty, headers=headers)
        _, body, sent = get(page, f"/topic/{name}?q={quote(nasty)}")
        assert body.count("&lt;script&gt;") >= 5
        assert "<script" not in body
        assert "'\"" not in body
        policy = sent["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_json_value_is_indented(
    page: Runner[TopicsPageServer], kafka_bootstrap: str, topic: str
) -> None:
    send(kafka_bootstrap, topic, [b'{"items":[{"quantity":2}]}'])
    body = get(page, f"/topic/{topic}")[1]
    assert "  &quot;items&quot;: [\n    {\n      &quot;quantity&quot;: 2" in body


def test_lag_is_number_of_uncommitted_messages(
    page: Runner[TopicsPageServer], kafka_bootstrap: str, topic: str
) -> None:
    group = f"readers-{topic}"
    send(kafka_bootstrap, topic, [b"1"] * 10, partition=0)
    send(kafka_bootstrap, topic, [b"2"] * 5, partition=2)
    _commit(kafka_bootstrap, group, TopicPartition(topic, 0), 4)
    groups = get_json(page, "/api/topics")["groups"]
    found = [entry for entry in groups if entry["group"] == group]
    assert found == [{"group": group, "topic": topic, "consumed": 4, "lag": 11}]
    assert "11 behind" in get(page, "/")[1]


def test_page_creates_no_group_and_no_offsets(
    page: Runner[TopicsPageServer], kafka_bootstrap: str, topic: str
) -> None:
    group = f"readers-{topic}"
    send(kafka_bootstrap, topic, [b"1"] * 10, partition=0)
    _commit(kafka_bootstrap, group, TopicPartition(topic, 0), 4)
    before = run_async(_known(kafka_bootstrap, group, topic))
    for path in ("/", f"/topic/{topic}", "/topic/nowhere", "/api/topics"):
        get(page, path)
    assert run_async(_known(kafka_bootstrap, group, topic)) == before
    broker = int(kafka_bootstrap.rpartition(":")[2])
    connections = psutil.Process(_pid(page)).net_connections(kind="tcp4")
    assert broker not in {getattr(each.raddr, "port", None) for each in connections}


async def _known(bootstrap: str, group: str, topic: str) -> tuple[set[str], set[str], int]:
    """Return the broker's groups and topics, and the group's committed offset."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        groups = {name for name, *_ in await admin.list_consumer_groups()}
        partition = TopicPartition(topic, 0)
        offsets = await admin.list_consumer_group_offsets(group, partitions=[partition])
        return groups, set(await admin.list_topics()), int(offsets[partition].offset)
    finally:
        await admin.close()


def _pid(page: Runner[TopicsPageServer]) -> int:
    assert page.identity is not None
    return page.identity.pid


def _commit(bootstrap: str, group: str, partition: TopicPartition, offset: int) -> None:
    async def run() -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False
        )
        consumer.assign([partition])
        await consumer.start()
        await consumer.commit({partition: offset})
        await consumer.stop()

    run_async(run())


def test_dead_letter_is_open_until_replayed_or_dropped(
    page: Runner[TopicsPageServer], kafka_bootstrap: str, topic: str
) -> None:
    dead = made(kafka_bootstrap, f"{topic}.dlq", 1)
    send(kafka_bootstrap, dead, [b"1", b"2", b"3"], headers=[("x-error-class", b"Refused")])
    newest = messages_of(page, dead)
    assert topic_of(page, dead)["open_dead_letters"] == 3
    assert [message["state"] for message in newest] == ["open"] * 3
    for message, state in ((newest[0], REPLAYED), (newest[1], DROPPED)):
        moment = _milliseconds(message["timestamp"])
        key, value = outcome_record(Address(moment, dead, 0, message["offset"]), state)
        send(kafka_bootstrap, DEAD_LETTERS_DONE, [value], key=key)
    assert [message["state"] for message in messages_of(page, dead)] == [
        "replayed",
        "dropped",
        "open",
    ]
    assert topic_of(page, dead)["open_dead_letters"] == 1
    body = get(page, f"/topic/{dead}")[1]
    assert "Refused" in body
    assert f'make dlq a="replay {topic} 0:0"' in body


def _milliseconds(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/topics/order-placed/messages?n=0", 400, "a number from 1 to 1000"),
        ("/api/topics/order-placed/messages?n=1001", 400, "a number from 1 to 1000"),
        ("/topic/order-placed?n=many", 400, "a number from 1 to 1000"),
        ("/api/topics/nowhere/messages", 404, "no topic 'nowhere'"),
        ("/topic/%3Cscript%3E", 404, "no topic &#x27;&lt;script&gt;"),
        ("/api/nothing", 404, "no such page"),
        ("/..%2f..%2fetc/passwd", 404, "no such page"),
    ],
)
def test_invalid_request_gets_error_message(
    page: Runner[TopicsPageServer], path: str, status: int, said: str
) -> None:
    found, body, _ = get(page, path)
    assert found == status
    assert said in body


def test_client_disconnect_is_not_logged(
    page: Runner[TopicsPageServer],
) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", page.program.port)) as connection:
            abort = struct.pack("ii", 1, 0)  # closing resets the connection
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abort)
            connection.sendall(b"GET /health HTTP/1.1\r\n")
        page.program.check()
    assert "Traceback" not in page.log.read_text()


def test_unavailable_broker_is_reported_and_page_recovers(
    servers: TemporaryServers,
) -> None:
    broker = servers.start(KafkaServer(servers.folder / "away", Port(free_port())))
    bootstrap = broker.program.bootstrap
    own = TemporaryServers()
    page = own.start(TopicsPageServer(own.folder, Port(free_port()), bootstrap))
    try:
        _away_and_back(broker, page)
        assert "Traceback" not in page.log.read_text()
    finally:
        page.kill()
        own.remove()
        broker.kill()


def _away_and_back(broker: Runner[KafkaServer], page: Runner[TopicsPageServer]) -> None:
    assert get(page, "/")[0] == 200
    broker.kill()
    status, body, _ = get(page, "/")
    assert status == 503
    assert f"Kafka at {broker.program.bootstrap} does not answer" in body
    assert "http-equiv=refresh" in body
    broker.start()
    assert get(page, "/")[0] == 200
    broker.pause()
    try:
        status, body, _ = get(page, "/api/topics")
        assert status == 503
        assert "Kafka at" in json.loads(body)["error"]
        page.program.check()
    finally:
        broker.resume()
    assert get(page, "/")[0] == 200
