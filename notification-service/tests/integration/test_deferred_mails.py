"""Refusals of a mail server, on a real broker and a real SMTP server with scripted faults."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.samples import fresh

from fleet.clients.mailbox import Mailbox
from tests.conftest import Post, Replica, Wire, until

Replicas = Callable[..., Replica]
Order = dict[str, Any]
QUICK = {"MAIL_RETRY_SECONDS": "0.3"}
"""Retries after 0.3, 1.5, 7.5 and then every 37.5 s."""
PROMPT = 5.0
"""Seconds by which the mails of one customer may delay other mails (promise 64)."""


def order(customer: str, name: str = "Alice") -> Order:
    """Make an order with a new id, so that the orders spread over the partitions."""
    return fresh(
        "order-placed",
        order_id=str(uuid4()),
        customer_email=f"{customer}@example.com",
        customer_name=name,
    )


async def place(wire: Wire, orders: list[Order]) -> None:
    for each in orders:
        await wire.publish("order-placed", each)


async def started(replica: Replica) -> Replica:
    replica.start()
    await replica.ready()
    return replica


def waiting(replica: Replica) -> float:
    """Return the number of mails on the retry topics of this replica's partitions."""
    topics = [f"mail-retry-{number}" for number in (1, 2, 3, 4)]
    return sum(replica.metric("kafka_consumer_lag", topic=topic) for topic in topics)


def outcome(replica: Replica, name: str) -> float:
    return replica.metric("kafka_consumer_messages_total", outcome=name)


async def dead_letters(bootstrap: str, topic: str = "order-placed.dlq") -> dict[str, str]:
    """Return the error class of each dead letter, by the key of its message."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, number) for number in range(3)])
        found = {}
        while batches := await consumer.getmany(timeout_ms=1_000):
            for record in (record for records in batches.values() for record in records):
                assert dict(record.headers)["x-original-topic"] == b"order-placed"
                found[record.key.decode()] = dict(record.headers)["x-error-class"].decode()
        return found
    finally:
        await consumer.stop()


async def test_greylisted_mails_follow_their_schedule_and_survive_a_restart(
    replicas: Replicas, wire: Wire, post: Post, mailbox: Mailbox
) -> None:
    """Promise 64: 450 at the first RCPT; the process stops while the mails wait."""
    greylisting = {"preset": "greylisting", "recipient": "bob"}
    mailbox.set_faults(greylisting | {"greylist_seconds": 3600})
    replica = await started(replicas(**QUICK))
    greylisted = [order(f"bob-{number}") for number in range(10)]
    await place(wire, greylisted)
    alice = order("alice")
    began = time.monotonic()
    await place(wire, [alice])
    await post.complete([alice])
    assert time.monotonic() - began < PROMPT
    await until(lambda: outcome(replica, "deferred") >= 10, what="all mails deferred")
    await replica.stop()
    assert len(post.counts()) == 1, "the restart happens while the mails wait"
    mailbox.set_faults(greylisting | {"greylist_seconds": 1})
    again = await started(replicas(**QUICK))
    counts = await post.complete([*greylisted, alice], timeout=60)
    assert set(counts.values()) == {1}
    await until(lambda: waiting(again) == 0, what="no mail waits")
    assert outcome(again, "dead_lettered") == 0
    assert again.readiness() == (200, {"kafka": "UP", "smtp": "UP"})


@pytest.fixture(scope="class")
async def pair(shared_replicas: Replicas) -> list[Replica]:
    pair = [shared_replicas(**QUICK), shared_replicas(**QUICK)]
    for replica in pair:
        replica.start()
    for replica in pair:
        await replica.ready()
    return pair


class TestTwoReplicas:
    @pytest.mark.parametrize("preset", ["quota", "throttling", "busy", "server-full", "hang-up"])
    async def test_refusals_of_every_mail_wait_for_the_server_and_all_mails_arrive(
        self, pair: list[Replica], wire: Wire, post: Post, mailbox: Mailbox, preset: str
    ) -> None:
        """Promise 64: no mail becomes a dead letter, and none is sent twice."""
        mailbox.set_faults({"preset": preset})
        orders = [order(f"customer-{number}") for number in range(26)]
        await place(wire, orders)

        def degraded() -> bool:
            states = [replica.readiness() for replica in pair]
            return (200, {"kafka": "UP", "smtp": "DEGRADED"}) in states

        await until(degraded, what="DEGRADED")
        await until(lambda: mailbox.faults()[0]["hits"] >= 4, what="several probes")
        assert not post.counts()
        mailbox.set_faults()
        counts = await post.complete(orders, timeout=75)
        assert set(counts.values()) == {1}
        for replica in pair:
            assert outcome(replica, "dead_lettered") == 0
            await until(lambda: replica.readiness()[1].get("smtp") == "UP", what="UP again")  # noqa: B023


@pytest.fixture(scope="class")
async def replica(shared_replicas: Replicas) -> Replica:
    return await started(shared_replicas(**QUICK))


class TestOneReplica:
    @pytest.mark.parametrize(
        ("fault", "ends_as"),
        [
            ({"preset": "content-refused", "marker": "REFUSE-THIS"}, "MailRejected"),
            ({"preset": "unknown-user", "recipient": "bob"}, "RecipientRefused"),
            ({"preset": "mailbox-over-quota", "recipient": "bob"}, "RecipientRefused"),
            ({"preset": "mailbox-full", "recipient": "bob"}, "delivered"),
            ({"preset": "quota", "recipient": "bob"}, "delivered"),
            ({"stage": "rcpt", "reply": "421 4.7.0 Closing", "recipient": "bob"}, "delivered"),
            ({"preset": "hang-up", "recipient": "bob"}, "delivered"),
        ],
    )
    async def test_refused_mails_of_one_customer_do_not_delay_another_customers_mail(
        self,
        replica: Replica,
        wire: Wire,
        post: Post,
        mailbox: Mailbox,
        kafka_bootstrap: str,
        fault: dict[str, Any],
        ends_as: str,
    ) -> None:
        """Promise 64: also for refusals that look like a state of the server."""
        dead_lettered = outcome(replica, "dead_lettered")
        mailbox.set_faults(fault)
        of_bob = [order("bob", "REFUSE-THIS Bob") for _ in range(21)]
        await place(wire, of_bob)
        for number in range(3):
            alice = order(f"alice-{number}")
            began = time.monotonic()
            await place(wire, [alice])
            await post.complete([alice])
            assert time.monotonic() - began < PROMPT
        keys = {each["order_id"] for each in of_bob}
        if ends_as == "delivered":
            mailbox.set_faults()
            counts = await post.complete(of_bob, timeout=75)
            assert set(counts.values()) == {1}
            assert not keys & (await dead_letters(kafka_bootstrap)).keys()
        else:
            dead_lettered += 21
            await until(
                lambda: outcome(replica, "dead_lettered") == dead_lettered, what="dead letters"
            )
            letters = await dead_letters(kafka_bootstrap)
            assert Counter(letters.get(key) for key in keys) == {ends_as: 21}
            assert len(post.counts()) == 3
        assert replica.readiness() == (200, {"kafka": "UP", "smtp": "UP"})


async def test_refused_login_waits_for_the_server_and_all_mails_arrive(
    replicas: Replicas, wire: Wire, post: Post, mailbox: Mailbox
) -> None:
    mailbox.set_faults({"preset": "login-refused"})
    replica = await started(replicas(SMTP_USERNAME="shop", SMTP_PASSWORD="secret", **QUICK))
    orders = [order(f"customer-{number}") for number in range(5)]
    await place(wire, orders)
    await until(lambda: replica.readiness() == (200, {"kafka": "UP", "smtp": "DEGRADED"}))
    mailbox.set_faults()
    counts = await post.complete(orders, timeout=60)
    assert set(counts.values()) == {1}
    assert outcome(replica, "dead_lettered") == 0


async def test_mail_deferred_for_too_long_becomes_a_dead_letter(
    replicas: Replicas, wire: Wire, post: Post, mailbox: Mailbox, kafka_bootstrap: str
) -> None:
    """MAIL_RETRY_HOURS; the dead letter is on the event's own dead-letter topic."""
    mailbox.set_faults({"preset": "mailbox-full"})
    limits = {"MAIL_RETRY_SECONDS": "0.1", "MAIL_RETRY_HOURS": str(2 / 3600)}
    replica = await started(replicas(**limits))
    late = order("alice")
    await place(wire, [late])
    await until(lambda: outcome(replica, "dead_lettered") == 1, what="a dead letter")
    assert outcome(replica, "deferred") >= 3
    assert (await dead_letters(kafka_bootstrap))[late["order_id"]] == "MailDeferred"
    assert waiting(replica) == 0


async def test_mail_whose_reply_is_always_lost_is_sent_five_times_at_most(
    replicas: Replicas, wire: Wire, post: Post, mailbox: Mailbox
) -> None:
    """The server accepts the mail each time, and the reply is lost."""
    mailbox.set_faults({"preset": "lost-reply"})
    replica = await started(replicas(MAIL_RETRY_SECONDS="0.02"))
    lost = order("alice")
    await place(wire, [lost])
    await until(lambda: outcome(replica, "dead_lettered") == 1, 60, "a dead letter")
    assert post.counts()[lost["event_id"]] == replica.metric("mails_in_doubt_total") == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_waiting_mails_survive_the_loss_of_a_replica(
    replicas: Replicas, wire: Wire, post: Post, mailbox: Mailbox, number: signal.Signals
) -> None:
    """Promises 23, 24 and 64: each event twice; one of two replicas stops while mails wait."""
    mailbox.set_faults({"preset": "greylisting", "greylist_seconds": 6})
    first, second = replicas(**QUICK), replicas(**QUICK)
    first.start()
    second.start()
    await first.ready()
    await second.ready()
    orders = [order(f"customer-{each}") for each in range(40)]
    await place(wire, orders)
    await until(lambda: outcome(first, "deferred") >= 5, what="mails wait")
    await first.stop(number)
    await place(wire, orders)
    counts = await post.complete(orders, timeout=75)
    await until(lambda: second.metric("kafka_consumer_lag") == 0, 60, "nothing left to do")
    counts = post.counts()
    in_hand = 1 if number == signal.SIGKILL else 0
    assert sum(counts.values()) - len(orders) <= in_hand
    assert outcome(second, "dead_lettered") == 0


async def test_foreign_messages_on_a_retry_topic_are_skipped(
    replicas: Replicas, wire: Wire, post: Post, mailbox: Mailbox
) -> None:
    mailbox.set_faults({"preset": "mailbox-full", "times": 1})
    replica = await started(replicas(**QUICK))
    deferred = order("alice")
    await wire.publish_raw("mail-retry-1", deferred["order_id"], b"not ours")
    await wire.publish_raw("mail-retry-1", deferred["order_id"], b"{}")
    await place(wire, [deferred])
    await post.complete([deferred])
    assert outcome(replica, "skipped_foreign") == 2


async def test_waiting_mails_take_no_memory_in_the_process(
    replicas: Replicas, wire: Wire, post: Post, mailbox: Mailbox
) -> None:
    """They are on the broker."""
    mailbox.set_faults({"preset": "mailbox-full"})
    replica = await started(replicas(MAIL_RETRY_SECONDS="30"))
    orders = [order(f"customer-{number % 50}") for number in range(600)]
    await asyncio.gather(*(place(wire, orders[number::20]) for number in range(20)))
    await until(lambda: outcome(replica, "deferred") >= 600, 90, "all mails deferred")
    memory = replica.metric("process_resident_memory_bytes") / 1e6
    print(f"resident memory with 600 waiting mails: {memory:.0f} MB")
    assert memory < 80
