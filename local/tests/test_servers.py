"""Each embedded server starts, and survives kill, pause and restart."""

from __future__ import annotations

import asyncio
import signal
import smtplib
import socket
import struct
from email.message import EmailMessage
from urllib.parse import urlsplit

import asyncpg
import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from fleet.clients.mailbox import Mailbox
from fleet.errors import NotReady
from fleet.processes.program import run_async
from fleet.processes.runner import Runner
from fleet.servers.kafka import KafkaServer
from fleet.servers.mongo import MongoServer
from fleet.servers.postgres import PostgresServer, ensure_databases
from fleet.servers.tansu_workaround import Connection, text
from fleet.servers.valkey import ValkeyServer
from fleet.topics import TOPICS


def test_postgres_url_is_an_empty_database(postgres_url: str) -> None:
    async def tables() -> int:
        connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
        try:
            query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
            return int(await connection.fetchval(query))
        finally:
            await connection.close()

    assert run_async(tables()) == 0


def test_postgres_keeps_committed_rows_after_kill(
    postgres_server: Runner[PostgresServer],
) -> None:
    run_async(ensure_databases(postgres_server.program.url("postgres"), ["kept"]))
    url = postgres_server.program.url("kept")

    async def execute(statement: str) -> object:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    run_async(execute("CREATE TABLE kept (number int)"))
    run_async(execute("INSERT INTO kept VALUES (7)"))
    postgres_server.kill()
    with pytest.raises(NotReady):
        postgres_server.program.check()
    postgres_server.start()
    assert run_async(execute("SELECT number FROM kept")) == 7


def test_postgres_starts_despite_stale_lock_file(
    postgres_server: Runner[PostgresServer],
) -> None:
    """The lock file names the pid of a zombie, which its parent has not reaped."""
    killed = postgres_server.identity
    assert killed is not None
    family = killed.signal_family(signal.SIGKILL)
    psutil.wait_procs(family[1:], timeout=10)
    while psutil.Process(killed.pid).status() != psutil.STATUS_ZOMBIE:
        pass
    again = Runner(postgres_server.program, postgres_server.log.parents[1])
    again.spawn()  # skips the check of the old process, which would reap it
    again.wait_ready()


def test_paused_postgres_answers_no_request(
    postgres_server: Runner[PostgresServer],
) -> None:
    async def asked_while_paused() -> str:
        connection = await asyncpg.connect(postgres_server.program.url("postgres"))
        try:
            postgres_server.pause()
            try:
                await connection.fetchval("SELECT 1", timeout=0.5)
            except TimeoutError:
                return "silence"
            finally:
                postgres_server.resume()
            return "answer"
        finally:
            await connection.close()

    assert run_async(asked_while_paused()) == "silence"
    postgres_server.program.check()


def test_broker_has_topics_after_restart(kafka_server: Runner[KafkaServer]) -> None:
    async def partitions() -> dict[str, int]:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.program.bootstrap)
        await admin.start()
        try:
            found = await admin.describe_topics(list(TOPICS))
            return {topic["topic"]: len(topic["partitions"]) for topic in found}
        finally:
            await admin.close()

    kafka_server.kill()
    kafka_server.start()
    assert run_async(partitions()) == dict(TOPICS)


_JOIN, _LEAVE = 11, 13  # API keys of the Kafka protocol


def _join(group: str) -> bytes:
    """Encode a JoinGroup request (version 0), which triggers a rebalance."""
    head = text(group) + struct.pack(">i", 6_000) + text("") + text("consumer")
    subscription = struct.pack(">hii", 0, 0, 0)  # version, topics, user data
    protocol = text("roundrobin") + struct.pack(">i", len(subscription)) + subscription
    return head + struct.pack(">i", 1) + protocol


def test_group_gets_new_leader_after_leader_leaves_during_rebalance(
    kafka_server: Runner[KafkaServer],
) -> None:
    """Without the workaround the broker keeps the absent leader, and no member gets a partition."""
    bootstrap, port = kafka_server.program.bootstrap, kafka_server.program.port

    def member() -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            "order-placed",
            bootstrap_servers=bootstrap,
            group_id="leaderless",
            session_timeout_ms=6_000,
        )

    async def assigned_after_the_leader_left() -> set[TopicPartition]:
        leader, heir = member(), member()
        await leader.start()
        await leader.commit({TopicPartition("order-placed", 0): 0})
        with Connection(port) as newcomer:
            newcomer.send(_JOIN, _join("leaderless"))
            newcomer.answer()
            newcomer.send(_LEAVE, text("leaderless") + text(leader._coordinator.member_id))
            newcomer.answer()
        await leader.stop()
        try:
            async with asyncio.timeout(30):
                await heir.start()  # returns after the partition assignment
            return set(heir.assignment())
        finally:
            await heir.stop()

    partitions = range(TOPICS["order-placed"])
    expected = {TopicPartition("order-placed", number) for number in partitions}
    assert run_async(assigned_after_the_leader_left()) == expected


async def _send(bootstrap: str) -> int:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        sent = await producer.send_and_wait("order-placed", b"{}", key=b"1")
        return int(sent.offset)
    finally:
        await producer.stop()


def test_broker_accepts_a_message(kafka_bootstrap: str) -> None:
    assert run_async(_send(kafka_bootstrap)) >= 0


def test_mongo_answers_ping_after_kill_and_start(mongo_server: Runner[MongoServer]) -> None:
    mongo_server.kill()
    mongo_server.start()
    mongo_server.program.check()


def _ask(redis_url: str, command: str) -> str:
    address = urlsplit(redis_url)
    with socket.create_connection((address.hostname, address.port), timeout=2) as connection:
        connection.sendall(f"{command}\r\n".encode())
        return connection.recv(256).decode()


def test_redis_counters_are_lost_at_restart(
    redis_server: Runner[ValkeyServer], redis_url: str
) -> None:
    assert _ask(redis_url, "INCR count") == ":1\r\n"
    assert _ask(redis_url, "INCR count") == ":2\r\n"
    redis_server.stop()
    redis_server.start()
    assert _ask(redis_url, "INCR count") == ":1\r\n"


def test_paused_redis_accepts_connections_without_answer(
    redis_server: Runner[ValkeyServer], redis_url: str
) -> None:
    redis_server.pause()
    try:
        with pytest.raises(NotReady):
            redis_server.program.check()
    finally:
        redis_server.resume()
    redis_server.program.check()


def test_mail_sent_over_smtp_is_found_over_the_api(mailbox: Mailbox) -> None:
    mail = EmailMessage()
    mail["From"] = "Shop <shop@example.com>"
    mail["To"] = "Alice <alice@example.com>"
    mail["Subject"] = "Order confirmed: Grüße"
    mail["X-Event-Id"] = "42"
    mail.set_content("Your order is on its way.")
    mail.add_alternative("<h1>Your order</h1>", subtype="html")
    with smtplib.SMTP(mailbox.smtp_host, mailbox.smtp_port) as smtp:
        smtp.send_message(mail)
    found = mailbox.wait_for(lambda message: "Grüße" in message["Subject"], timeout=5)
    assert found["To"] == [{"Name": "Alice", "Address": "alice@example.com"}]
    assert found["Text"].startswith("Your order is on its way.")
    assert found["HTML"].startswith("<h1>")
    assert mailbox.headers(found["ID"])["X-Event-Id"] == ["42"]
    assert len(mailbox.messages("to:alice subject:confirmed")) == 1
    mailbox.clear()
    assert mailbox.messages() == []
