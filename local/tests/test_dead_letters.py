"""`make dlq`: open dead letters, replay and drop."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from fleet.__main__ import main
from fleet.clients.printable import for_terminal, moment_of, pretty
from fleet.clients.topic_reader import Record, topic_reader
from fleet.errors import FleetError
from fleet.processes.ports import free_port
from fleet.processes.program import Port, run_async
from fleet.processes.runner import Runner, wait_until
from fleet.servers.kafka import KafkaServer, create_topics
from fleet.testing.temporary_servers import TemporaryServers
from fleet.tools.dead_letters.dead_letter import Address, DeadLetter, dead_letter_topic, place_of
from fleet.tools.dead_letters.outcomes import (
    DROPPED,
    REPLAYED,
    Outcome,
    outcome_record,
    parse_outcome,
)
from fleet.tools.dead_letters.plan import Choice, Plan

Say = Callable[..., str]

ADDRESS = Address(1_700_000_000_000, "order-placed.dlq", 2, 17)
HEADERS: list[tuple[str, bytes | None]] = [
    ("traceparent", b"00-1-2-01"),
    ("x-original-topic", b"order-placed"),
    ("x-original-partition", b"1"),
    ("x-original-offset", b"5"),
    ("x-consumer-group", b"notification-service"),
    ("x-error-class", b"Refused"),
    ("x-error", b"no such thing"),
    ("x-attempts", b"3"),
    ("x-first-failure-at", b"2026-11-28T04:00:00+00:00"),
]
LETTER = DeadLetter(ADDRESS, b"order-1", b"{}", HEADERS)


def test_dead_letter_has_failure_details() -> None:
    assert LETTER.topic == "order-placed"
    assert LETTER.original == "1:5"
    assert (LETTER.group, LETTER.error_class, LETTER.attempts) == (
        "notification-service",
        "Refused",
        "3",
    )


def test_replay_keeps_original_headers_and_adds_group() -> None:
    headers = LETTER.replay_headers("notification-service")
    assert headers == [
        ("traceparent", b"00-1-2-01"),
        ("x-replay-group", b"notification-service"),
    ]


def test_second_replay_has_one_group_header() -> None:
    again = replace(LETTER, headers=[*HEADERS, ("x-replay-group", b"ai-service")])
    named = [value for name, value in again.replay_headers("mail") if name == "x-replay-group"]
    assert named == [b"mail"]


def test_replay_topic_does_not_depend_on_headers() -> None:
    forged = replace(LETTER, headers=[("x-original-topic", b"mail-sent")])
    assert forged.topic == "order-placed"


def test_dead_letter_without_value_or_group_cannot_be_replayed() -> None:
    lost = replace(LETTER, value=b"", headers=[*HEADERS, ("x-dropped-bytes", b"1000000")])
    assert "value was not stored" in lost.cannot_be_replayed("mail")
    assert "--to" in replace(LETTER, headers=[]).cannot_be_replayed("")
    assert LETTER.cannot_be_replayed("mail") == ""


def test_invalid_position_or_topic_is_refused() -> None:
    assert place_of("2:17") == (2, 17)
    for wrong in ("2", "2:", "a:b", "-1:3", "2:17:1", " 2:17", "9999999999:1"):
        with pytest.raises(FleetError, match="partition:offset"):
            place_of(wrong)
    known = ["a", "a.dlq", "b"]
    assert dead_letter_topic("a", known) == dead_letter_topic("a.dlq", known) == "a.dlq"
    with pytest.raises(FleetError, match=r"There is no topic 'b.dlq'.*topics: a.dlq"):
        dead_letter_topic("b", known)


def test_outcome_record_includes_timestamp_of_dead_letter() -> None:
    key, value = outcome_record(ADDRESS, REPLAYED, "mail")
    assert key == b"order-placed.dlq 2:17"
    found = parse_outcome(_Record(value))
    assert found is not None
    assert found[0] == ADDRESS
    assert (found[1].state, found[1].to) == ("replayed", "mail")
    assert found[0] != replace(ADDRESS, timestamp=1)
    for junk in (None, b"", b"[]", b'{"topic": 1}', b"\xff", b'"x"'):
        assert parse_outcome(_Record(junk)) is None


class _Record:
    def __init__(self, value: bytes | None) -> None:
        self.value = value


def test_plan_leaves_out_processed_dead_letters_with_reason() -> None:
    plan, choice = Plan(), Choice()
    plan.consider(LETTER, choice, {}, "")
    other = replace(LETTER, address=replace(ADDRESS, offset=18))
    plan.consider(other, choice, {other.address: Outcome(DROPPED, "", "now")}, "")
    plan.consider(replace(LETTER, headers=[]), choice, {}, "")
    assert plan.chosen == {ADDRESS: "notification-service"}
    assert plan.left_out == Counter(
        {"dropped already": 1, "its consumer group is unknown: set --to": 1}
    )


@pytest.mark.parametrize(
    ("choice", "fits"),
    [
        (Choice(), True),
        (Choice.parse(["2:17"]), True),
        (Choice.parse(["2:18", "1:17"]), False),
        (Choice.parse([], "Refused", "notification-service"), True),
        (Choice.parse([], "Unreadable"), False),
        (Choice.parse([], "", "ai-service"), False),
    ],
)
def test_filters_select_by_position_error_and_group(choice: Choice, fits: bool) -> None:
    assert choice.fits(LETTER) is fits


def test_control_characters_are_escaped() -> None:
    assert for_terminal("a\x1b[2Jb\x9b\u202e\ud800\n") == "a\\x1b[2Jb\\x9b\\u202e\\ud800\n"
    assert pretty('{"a":[1.5]}') == '{\n  "a": [\n    1.5\n  ]\n}'
    for text in ("NaN", "1e999", "[" * 5_000, "1" * 5_000, "nothing", ""):
        assert pretty(text) == text
    assert moment_of(-1).year == 1970
    assert moment_of(2**63 - 1).year == 9999


# -- on a broker


@pytest.fixture
def topic(kafka_bootstrap: str) -> str:
    """Create a topic and its dead-letter topic with unique names and one partition."""
    name = f"buried-{secrets.token_hex(4)}"
    create_topics(kafka_bootstrap, {name: 1, f"{name}.dlq": 1})
    return name


@pytest.fixture
def dlq(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Say:
    """Run ``fleet dlq ...`` and return its output; fail on another exit code."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)

    def run(*arguments: str, code: int = 0) -> str:
        capsys.readouterr()
        ended = main(["dlq", *arguments])
        said = capsys.readouterr()
        assert ended == code, said
        return said.out + said.err

    return run


def bury(
    bootstrap: str, topic: str, count: int, group: str = "mail", error: str = "Refused"
) -> None:
    """Write dead letters like a service does; the value of each is its number."""

    async def run() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
        await producer.start()
        try:
            for number in range(count):
                headers = [
                    ("traceparent", b"00-aa-bb-01"),
                    ("x-original-partition", b"0"),
                    ("x-original-offset", b"%d" % number),
                    ("x-consumer-group", group.encode()),
                    ("x-error-class", error.encode()),
                ]
                value = b'{"number": %d}' % number
                await producer.send(f"{topic}.dlq", value, b"key-%d" % number, headers=headers)
        finally:
            await producer.stop()

    run_async(run())


def on(bootstrap: str, topic: str) -> list[Record]:
    """Return all messages of a topic."""

    async def run() -> list[Record]:
        async with topic_reader(bootstrap) as reader:
            topics = await reader.topics()
            spans = await reader.spans({topic: topics[topic]})
            return [record async for record in reader.records(spans)]

    return run_async(run())


def numbers(records: Sequence[Record]) -> list[int]:
    return [int(record.value.split()[1][:-1]) for record in records]


def test_replay_and_drop_without_yes_change_nothing(
    kafka_bootstrap: str, topic: str, dlq: Say
) -> None:
    bury(kafka_bootstrap, topic, 3)
    said = dlq("replay", topic)
    assert f"Would replay 3 dead letters of {topic}.dlq to mail" in said
    assert "Nothing was sent. To execute, add: --yes" in said
    assert "Nothing was changed" in dlq("drop", topic)
    assert on(kafka_bootstrap, topic) == []
    assert "3 open, 0 done" in dlq("list", topic)


def test_replay_sends_original_message_to_original_group(
    kafka_bootstrap: str, topic: str, dlq: Say
) -> None:
    bury(kafka_bootstrap, topic, 2, group="mail")
    bury(kafka_bootstrap, topic, 1, group="assistant")
    assert "Replayed 3." in dlq("replay", topic, "--yes", "--rate", "1000")
    sent = on(kafka_bootstrap, topic)
    letters = on(kafka_bootstrap, f"{topic}.dlq")
    assert [(one.key, one.value) for one in sent] == [(one.key, one.value) for one in letters]
    assert [list(one.headers) for one in sent] == [
        [("traceparent", b"00-aa-bb-01"), ("x-replay-group", group)]
        for group in (b"mail", b"mail", b"assistant")
    ]


def test_processed_dead_letters_are_not_replayed_again(
    kafka_bootstrap: str, topic: str, dlq: Say
) -> None:
    bury(kafka_bootstrap, topic, 4)
    dlq("drop", topic, "0:1", "--yes")
    dlq("replay", topic, "0:2", "--yes")
    dlq("replay", topic, "--yes")
    said = dlq("replay", topic, "--yes")
    assert "Replay 0 dead letters" in said
    assert "left out: 3, replayed already" in said
    assert "left out: 1, dropped already" in said
    assert sorted(numbers(on(kafka_bootstrap, topic))) == [0, 2, 3]
    assert "0 open, 4 done" in dlq("list", topic)
    everything = dlq("list", topic, "--all")
    assert everything.count("replayed 20") == 3
    assert everything.count("dropped 20") == 1


def test_replay_filters_and_target_group_are_applied(
    kafka_bootstrap: str, topic: str, dlq: Say
) -> None:
    bury(kafka_bootstrap, topic, 2, error="Refused")
    bury(kafka_bootstrap, topic, 2, error="Unreadable", group="assistant")
    assert "Replayed 1." in dlq("replay", topic, "0:0", "0:2", "--error", "Refused", "--yes")
    assert "Replayed 2." in dlq("replay", topic, "--group", "assistant", "--to", "mail", "--yes")
    groups = [dict(record.headers)["x-replay-group"] for record in on(kafka_bootstrap, topic)]
    assert groups == [b"mail", b"mail", b"mail"]
    assert "1 open, 3 done" in dlq("list", topic)


def test_show_prints_headers_and_value(kafka_bootstrap: str, topic: str, dlq: Say) -> None:
    bury(kafka_bootstrap, topic, 2)
    said = dlq("show", topic, "0:1")
    assert "x-consumer-group: mail" in said
    assert '{\n  "number": 1\n}' in said
    assert "There is no dead letter at 0:2" in dlq("show", topic, "0:2", code=1)


def test_list_shows_latest_and_counts_all(kafka_bootstrap: str, topic: str, dlq: Say) -> None:
    bury(kafka_bootstrap, topic, 30)
    said = dlq("list", topic, "--limit", "2")
    assert "0:28" in said
    assert "0:29" in said
    assert "0:27" not in said
    assert "30 open" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay", "nowhere", "--yes"), "There is no topic 'nowhere.dlq'"),
        (("replay", "order-placed", "7", "--yes"), "partition:offset"),
        (("replay", "order-placed", "0:99999", "--yes"), "There is no dead letter at 0:99999"),
        (("drop", "order-placed", "0:99999", "0:99998"), "at 0:99998, 0:99999"),
        (("list", "nowhere"), "Dead-letter topics: "),
    ],
)
def test_invalid_arguments_fail_before_any_change(
    dlq: Say, arguments: tuple[str, ...], said: str
) -> None:
    assert said in dlq(*arguments, code=1)


def test_replay_to_missing_topic_is_refused(kafka_bootstrap: str, dlq: Say) -> None:
    name = f"gone-{secrets.token_hex(4)}"
    create_topics(kafka_bootstrap, {f"{name}.dlq": 1})
    bury(kafka_bootstrap, name, 1)
    assert f"Kafka has no topic '{name}'" in dlq("replay", name, "--yes", code=1)


INTERRUPTIBLE = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("fleet", run_name="__main__")
"""
"""Run `python -m fleet` with SIGINT enabled: background jobs of a shell ignore it."""


@pytest.fixture
def slowly(kafka_bootstrap: str, topic: str) -> Iterator[subprocess.Popen[str]]:
    """Start a replay process of 40 dead letters at 4 per second; wait until 5 have arrived."""
    bury(kafka_bootstrap, topic, 40)
    command = [sys.executable, "-c", INTERRUPTIBLE, "dlq", "replay", topic, "--yes", "--rate", "4"]
    running = subprocess.Popen(
        command,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert wait_until(lambda: len(on(kafka_bootstrap, topic)) >= 5, 20)
    yield running
    running.kill()
    running.communicate()


def test_killed_replay_continues_with_at_most_one_duplicate(
    kafka_bootstrap: str, topic: str, slowly: subprocess.Popen[str], dlq: Say
) -> None:
    slowly.kill()
    slowly.communicate()
    assert len(on(kafka_bootstrap, topic)) < 40, "killed too late to test anything"
    dlq("replay", topic, "--yes", "--rate", "1000")
    counts = Counter(numbers(on(kafka_bootstrap, topic)))
    assert sorted(counts) == list(range(40))
    assert sum(counts.values()) <= 41


def test_interrupted_replay_prints_progress(
    kafka_bootstrap: str, topic: str, slowly: subprocess.Popen[str], dlq: Say
) -> None:
    slowly.send_signal(signal.SIGINT)
    _, complaints = slowly.communicate(timeout=10)
    assert slowly.returncode == 130
    assert "of 40 are replayed. Run the same command again to continue." in complaints
    assert "Traceback" not in complaints
    said = int(complaints.split()[0])
    left = int(dlq("list", topic).rpartition(" open")[0].split()[-1])
    assert left in (40 - said, 39 - said), "the last outcome may be stored but not acknowledged"


def test_replay_respects_rate(kafka_bootstrap: str, topic: str, dlq: Say) -> None:
    bury(kafka_bootstrap, topic, 21)
    dlq("replay", topic, "--yes", "--rate", "20")
    moments = [record.timestamp for record in on(kafka_bootstrap, topic)]
    assert moments[-1] - moments[0] >= 900
    assert moments[10] - moments[0] > 400, "a slow start was followed by a burst"


def test_broker_outage_during_replay_prints_progress() -> None:
    servers = TemporaryServers()
    broker = servers.start(KafkaServer(servers.folder, Port(free_port())))
    try:
        assert _replayed_while_paused(broker) == (1, "of 40 are replayed")
    finally:
        broker.resume()
        broker.kill()
        servers.remove()


def _replayed_while_paused(broker: Runner[KafkaServer]) -> tuple[int, Any]:
    bootstrap = broker.program.bootstrap
    bury(bootstrap, "order-placed", 40)
    running = subprocess.Popen(
        [sys.executable, "-m", "fleet", "dlq", "replay", "order-placed", "--yes", "--rate", "10"],
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": bootstrap},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert wait_until(lambda: len(on(bootstrap, "order-placed")) >= 3, 20)
    broker.pause()
    _, complaints = running.communicate(timeout=60)
    assert "Traceback" not in complaints
    assert f"Kafka at {bootstrap} does not answer" in complaints
    wanted = "of 40 are replayed"
    return running.returncode, wanted if wanted in complaints else complaints


def test_unreachable_broker_is_named(monkeypatch: pytest.MonkeyPatch, dlq: Say) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", nowhere)
    said = dlq(code=1)
    assert f"Error: Kafka at {nowhere} does not answer" in said
    assert "Traceback" not in said
