"""PartitionWorker without a broker: commits, retries, deferrals, dead letters, skipped messages."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from aiokafka.errors import CommitFailedError, IllegalStateError
from prometheus_client import CollectorRegistry

from chassis.backoff import RetryPolicy
from chassis.kafka.dead_letters import DeadLetters
from chassis.kafka.errors import (
    BrokerUnavailable,
    DependencyDown,
    Refused,
    RetryLater,
    Unsendable,
)
from chassis.kafka.events import Envelope
from chassis.kafka.message_processor import (
    ConsumerGroup,
    ConsumerMetrics,
    ConsumerPolicy,
    PartitionWorker,
    Subscription,
    describe,
)
from chassis.kafka.retry_topics import HEADER, RetryState, RetryTopics

POLICY = ConsumerPolicy(attempts=3, backoff=0.0, halt_after=2)
RETRIES = ("retry-1", "retry-2")


class Greeting(Envelope):
    event_type: Literal["GREETING"]
    customer_email: str
    number: int = 0


def record(value: bytes | None = None, **fields: Any) -> SimpleNamespace:
    good = {
        "event_id": "0b8e3a52-5c1f-4f6e-9d3a-000000000001",
        "event_type": "GREETING",
        "event_version": 1,
        "timestamp": "2026-11-23T09:30:00Z",
        "customer_email": "alice@example.com",
    }
    defaults: dict[str, Any] = {
        "topic": "greetings",
        "partition": 2,
        "offset": 40,
        "timestamp": 1_000,
        "key": b"k",
        "value": json.dumps(good).encode() if value is None else value,
        "headers": (),
    }
    return SimpleNamespace(**defaults | fields)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


class Scene:
    """A group whose handler and broker have scripted results.

    `log` records the events in order. The handler waits for `release` in call number `block_at`.
    """

    def __init__(self, **retries: Any) -> None:
        self.handler: list[BaseException | None] = []
        self.blocked, self.release = asyncio.Event(), asyncio.Event()
        self.block_at: int | None = None
        self.calls = 0
        self.commit_error: Exception | None = None
        self.publish_errors: list[Exception] = []
        self.log: list[Any] = []
        self.halts = 0
        self.group = ConsumerGroup(
            name="mails",
            subscriptions={"greetings": Subscription("greetings", Greeting, self.handle)},
            dead_letters=DeadLetters(self.publish, "mails"),
            policy=POLICY,
            metrics=ConsumerMetrics(CollectorRegistry()),
            halt=self.halt,
            retries=RetryTopics(RETRIES, self.publish, **retries) if retries else None,
        )

    async def handle(self, event: Greeting) -> None:
        self.calls += 1
        if self.calls == self.block_at:
            self.blocked.set()
            await self.release.wait()
        outcome = self.handler.pop(0) if self.handler else None
        self.log.append("handled" if outcome is None else "failed")
        if outcome is not None:
            raise outcome

    async def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
    ) -> None:
        if self.publish_errors:
            self.log.append("refused")
            raise self.publish_errors.pop(0)
        self.log.append((topic, key, value, dict(headers)))

    async def commit(self, offset: int) -> None:
        if self.commit_error is not None:
            raise self.commit_error
        self.log.append(f"committed {offset}")

    def halt(self) -> None:
        self.halts += 1

    async def run(self, *records: SimpleNamespace, skip_before: int | None = None) -> list[Any]:
        """Process these messages with a new worker and return the log."""
        self.log = []
        worker = self.worker(*records, skip_before=skip_before)
        await until(lambda: not worker.unfinished or worker.task.done())
        worker.close()
        await worker.task
        return self.log

    def worker(self, *records: SimpleNamespace, skip_before: int | None = None) -> PartitionWorker:
        worker = PartitionWorker(self.group, self.commit, skip_before)
        worker.add(records)
        return worker


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def retrying() -> Scene:
    """A scene with retry topics."""
    return Scene(first_delay=0.001, max_age=timedelta(hours=1), max_repeats=3)


def on_retry_topic(entry: Any) -> SimpleNamespace:
    """The record that `publish` wrote, as the broker delivers it."""
    topic, key, value, headers = entry
    return record(value, topic=topic, key=key, offset=7, headers=tuple(headers.items()))


async def test_offset_is_committed_after_the_message_was_handled(scene: Scene) -> None:
    assert await scene.run(record()) == ["handled", "committed 41"]


async def test_dead_letter_is_acknowledged_before_its_offset_is_committed(scene: Scene) -> None:
    """Promise 26: without its dead letter a message is not committed."""
    scene.publish_errors = [BrokerUnavailable("away"), BrokerUnavailable("away")]
    log = await scene.run(record(b"nonsense"))
    assert log[:2] == ["refused", "refused"]
    assert log[2][0] == "greetings.dlq"
    assert log[3:] == ["committed 41"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "value: json_invalid"),
        (b"\xff\xfe", "value: json_invalid"),
        (b"[1]", "value: model_type"),
        (b"{}", "event_id: missing; event_type: missing; event_version: missing; timestamp: "),
        (b'{"a":' * 100_000, "value: json_invalid"),
    ],
)
async def test_invalid_event_is_a_dead_letter_with_its_reason(
    scene: Scene, value: bytes, reason: str
) -> None:
    """Promise 21."""
    letter, committed = await scene.run(record(value))
    assert letter[3][b"x-error".decode()].decode().startswith(reason)
    assert committed == "committed 41"


async def test_reason_names_fields_without_their_values(scene: Scene) -> None:
    """Promise 57."""
    value = record().value.replace(b'"alice@example.com"', b'["alice@example.com"]')
    letter, _ = await scene.run(record(value))
    assert letter[3]["x-error"] == b"customer_email: string_type"


async def test_message_without_key_and_value_becomes_a_dead_letter(scene: Scene) -> None:
    tombstone = record(key=None)
    tombstone.value = None
    letter, _ = await scene.run(tombstone)
    assert letter[:3] == ("greetings.dlq", None, b"")
    assert letter[3]["x-error"] == b"no value"


async def test_oversized_dead_letter_keeps_the_offset_and_drops_the_value(
    scene: Scene,
) -> None:
    """Otherwise a message of the maximum size would block its partition."""
    scene.publish_errors = [Unsendable("MessageSizeTooLargeError")]
    log = await scene.run(record(b"x" * 1_000))
    assert log[1][2] == b""
    assert log[1][3]["x-dropped-bytes"] == b"1000"
    assert log[1][3]["x-original-offset"] == b"40"
    assert log[2] == "committed 41"


async def test_second_dead_letter_replaces_the_headers_of_the_first(scene: Scene) -> None:
    old = (("x-attempts", b"9"), ("x-replay-group", b"mails"), ("mine", b"1"))
    letter, _ = await scene.run(record(b"nonsense", headers=old))
    assert letter[3]["x-attempts"] == b"1"
    assert letter[3]["mine"] == b"1"


async def test_failures_are_bounded_and_waits_for_a_dependency_are_not(scene: Scene) -> None:
    scene.handler = [DependencyDown("mail server") for _ in range(50)] + [OSError(), OSError()]
    log = await scene.run(record())
    assert log == ["failed"] * 52 + ["handled", "committed 41"]


async def test_message_that_keeps_failing_is_a_dead_letter_after_the_last_attempt(
    scene: Scene,
) -> None:
    scene.handler = [OSError()] * 3
    log = await scene.run(record())
    assert log[:3] == ["failed"] * 3
    assert log[3][3]["x-attempts"] == b"3"
    assert log[4] == "committed 41"


async def test_consecutive_failures_halt_the_consumer(
    scene: Scene,
) -> None:
    scene.handler = [OSError()] * 9
    log = await scene.run(record(offset=1), record(offset=2), record(offset=3))
    assert [entry for entry in log if str(entry).startswith("committed")] == ["committed 3"]
    assert scene.halts == 1


async def test_success_resets_the_count_of_failures(scene: Scene) -> None:
    scene.handler = [*[OSError()] * 6, None, *[OSError()] * 6]
    await scene.run(*(record(offset=offset) for offset in range(5)))
    assert scene.halts == 0


async def test_invalid_and_refused_messages_never_stop_the_others(scene: Scene) -> None:
    """Otherwise one client could stop all mails with invalid events or unknown addresses."""
    scene.handler = [Refused("recipient refused")] * 20
    await scene.run(*(record(offset=offset) for offset in range(20)))
    await scene.run(*(record(b"nonsense", offset=offset) for offset in range(20)))
    assert scene.halts == 0


@pytest.mark.parametrize("error", [CommitFailedError("rebalanced"), IllegalStateError("gone")])
async def test_worker_ends_without_an_error_when_its_partition_was_revoked(
    scene: Scene, error: Exception
) -> None:
    scene.commit_error = error
    assert await scene.run(record()) == ["handled"]


async def test_old_messages_are_not_committed_before_the_first_new_message(scene: Scene) -> None:
    """After a crash among old messages, a committed offset would make the rest count as new."""
    old = [record(offset=number, timestamp=999) for number in range(3)]
    assert await scene.run(*old, skip_before=1_000) == []
    log = await scene.run(*old, record(offset=3, timestamp=1_000), skip_before=1_000)
    assert log == ["handled", "committed 4"]


async def test_one_commit_covers_up_to_20_messages_while_more_are_waiting(
    scene: Scene,
) -> None:
    log = await scene.run(*(record(offset=offset) for offset in range(50)))
    assert [entry for entry in log if entry != "handled"] == [
        "committed 20",
        "committed 40",
        "committed 50",
    ]


async def test_slow_messages_are_committed_while_more_are_waiting(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chassis.kafka.message_processor._COMMIT_AFTER_SECONDS", 0.0)
    log = await scene.run(record(offset=1), record(offset=2))
    assert log == ["handled", "committed 2", "handled", "committed 3"]


async def test_wait_for_a_dependency_commits_the_finished_messages(scene: Scene) -> None:
    scene.handler = [None, DependencyDown("mail server"), None]
    log = await scene.run(record(offset=1), record(offset=2))
    assert log == ["handled", "failed", "committed 2", "handled", "committed 3"]


async def test_closing_worker_commits_its_finished_messages_and_drops_the_others(
    scene: Scene,
) -> None:
    scene.block_at = 3
    worker = scene.worker(*(record(offset=offset) for offset in range(9)))
    await scene.blocked.wait()
    worker.close()
    scene.release.set()
    await worker.task
    assert scene.log == ["handled", "handled", "handled", "committed 3"]


async def test_closing_worker_does_not_wait_for_the_next_attempt(scene: Scene) -> None:
    scene.group.policy = ConsumerPolicy(backoff=1_000.0, backoff_max=1_000.0)
    scene.handler = [DependencyDown("mail server")]
    worker = scene.worker(record())
    await until(lambda: bool(scene.log))
    worker.close()
    async with asyncio.timeout(1):
        await worker.task
    assert scene.log == ["failed"], "nothing was committed"


async def test_closing_worker_that_waits_commits_the_messages_before(scene: Scene) -> None:
    scene.group.policy = ConsumerPolicy(backoff=1_000.0, backoff_max=1_000.0)
    scene.handler = [None, OSError()]
    worker = scene.worker(record(offset=1), record(offset=2))
    await until(lambda: "failed" in scene.log)
    worker.close()
    await worker.task
    assert scene.log == ["handled", "failed", "committed 2"]


async def test_error_outside_the_handler_ends_the_worker_and_is_raised_by_check(
    scene: Scene,
) -> None:
    scene.publish_errors = [KeyError()]  # while a dead letter is written
    worker = scene.worker()
    worker.check()
    worker.add([record(b"nonsense")])
    await asyncio.wait({worker.task})
    with pytest.raises(KeyError):
        worker.check()


async def test_handler_that_cancels_its_task_is_reported_by_check(scene: Scene) -> None:
    scene.handler = [asyncio.CancelledError()]
    worker = scene.worker(record())
    await asyncio.wait({worker.task})
    with pytest.raises(RuntimeError):
        worker.check()


def test_describe_returns_the_place_of_an_error_without_its_text() -> None:
    """Promise 57."""
    try:
        int("alice@example.com")
    except ValueError as error:
        text = str(describe(error))
    assert "test_describe_returns_the_place" in text
    assert "alice" not in text


def test_retry_waits_have_full_jitter() -> None:
    """Promise 27: full jitter; no bucket of 100 ms has more than three times the mean."""
    policy = RetryPolicy(backoff=0.2, backoff_max=5.0)
    buckets = [0] * 50
    for _ in range(10_000):
        buckets[min(int(policy.delay(20) * 10), 49)] += 1
    assert max(buckets) <= 3 * 10_000 / 50
    assert min(buckets) > 0


def test_retry_waits_grow_up_to_their_limit() -> None:
    policy = RetryPolicy(backoff=0.2, backoff_max=5.0)
    assert all(policy.delay(1) <= 0.2 for _ in range(1_000))
    assert all(policy.delay(10_000) <= 5.0 for _ in range(1_000))


async def test_commit_without_a_response_ends_the_worker_with_a_timeout(scene: Scene) -> None:
    """aiokafka's commit never returned when a real broker was killed during it."""
    scene.group.policy = replace(POLICY, commit_timeout=0.05)

    async def never(offset: int) -> None:
        await asyncio.Event().wait()

    worker = PartitionWorker(scene.group, never)
    worker.add([record()])
    await asyncio.wait({worker.task}, timeout=5)
    with pytest.raises(TimeoutError):
        worker.check()


async def test_deferred_message_is_on_the_retry_topic_before_its_offset_is_committed(
    retrying: Scene,
) -> None:
    retrying.handler = [RetryLater("450")]
    retrying.publish_errors = [BrokerUnavailable("away")]
    log = await retrying.run(record(), record(offset=41))
    assert log[:2] == ["failed", "refused"]
    topic, key, value, headers = log[2]
    assert (topic, key, value) == ("retry-1", b"k", record().value)
    state = RetryState.model_validate_json(headers[HEADER])
    assert (state.topic, state.partition, state.offset, state.attempts) == ("greetings", 2, 40, 1)
    assert log[3:] == ["handled", "committed 42"], "the next message is handled"


async def test_deferred_message_climbs_and_becomes_a_dead_letter_of_its_first_topic(
    retrying: Scene,
) -> None:
    retrying.handler = [RetryLater("450")] * 3 + [Refused("550")]
    topics, message = [], record()
    for _ in range(3):
        log = await retrying.run(message)
        topics.append(log[1][0])
        message = on_retry_topic(log[1])
    assert topics == ["retry-1", "retry-2", "retry-2"]
    letter = (await retrying.run(message))[1]
    assert letter[0] == "greetings.dlq"
    assert letter[3]["x-original-topic"] == b"greetings"
    assert letter[3]["x-original-offset"] == b"40"
    assert HEADER not in letter[3], "a replay starts without retry state"


async def test_deferred_message_waits_until_it_is_due(retrying: Scene) -> None:
    retrying.handler = [RetryLater("450")]
    entry = (await retrying.run(record()))[1]
    state = RetryState.model_validate_json(entry[3][HEADER])
    later = state.model_copy(update={"not_before": datetime.now(UTC) + timedelta(hours=1)})
    entry[3][HEADER] = later.model_dump_json().encode()
    retrying.log = []
    worker = retrying.worker(on_retry_topic(entry))
    await asyncio.sleep(0.05)
    assert retrying.log == []
    worker.close()
    await worker.task
    assert retrying.log == [], "closing ends the wait and commits nothing"


async def test_message_deferred_for_too_long_is_a_dead_letter_with_its_reason() -> None:
    scene = Scene(first_delay=0.001, max_age=timedelta(0))
    scene.handler = [RetryLater("450 4.2.2")] * 2
    message = on_retry_topic((await scene.run(record()))[1])
    letter = (await scene.run(message))[1]
    assert letter[0] == "greetings.dlq"
    assert letter[3]["x-error"] == b"450 4.2.2"


async def test_message_waiting_for_the_server_neither_climbs_nor_expires() -> None:
    scene = Scene(first_delay=0.001, max_age=timedelta(0))
    message = record()
    for _ in range(20):
        scene.handler = [RetryLater("quota", climb=False, expires=False)]
        log = await scene.run(message)
        assert log[1][0] == "retry-1"
        message = on_retry_topic(log[1])


@pytest.mark.parametrize("error", [OSError("a bug"), RetryLater("lost", bounded=True)])
async def test_failures_with_an_unknown_effect_are_bounded_and_delay_no_other_message(
    retrying: Scene, error: Exception
) -> None:
    """Input of one customer that triggers a bug stops neither the consumer nor its partition."""
    retrying.handler = [error] * 3
    message = record()
    for _ in range(2):
        message = on_retry_topic((await retrying.run(message))[1])
    letter = (await retrying.run(message))[1]
    assert letter[0] == "greetings.dlq"
    assert letter[3]["x-attempts"] == b"3"
    assert retrying.halts == 0


async def test_foreign_message_on_a_retry_topic_is_skipped(retrying: Scene) -> None:
    for headers in ((), ((HEADER, b"{}"),), ((HEADER, b"\xff"),)):
        log = await retrying.run(record(topic="retry-1", headers=headers))
        assert log == ["committed 41"]
