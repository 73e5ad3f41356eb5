"""What was done with dead letters: the topic ``dead-letters-done``, one record for each.

The record follows the deed. Whoever dies between the two has a letter that was replayed and is
still open: it may be replayed twice, which its group's own memory makes harmless. The other way
round it might never have been replayed at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fleet.clients.printable import parsed, text_of
from fleet.clients.topic_reader import Record, Span, TopicReader
from fleet.tools.dead_letters.letter import Address
from fleet.topics import DEAD_LETTERS_DONE

REPLAYED, DROPPED = "replayed", "dropped"


@dataclass(frozen=True)
class Done:
    """One letter that is no longer open."""

    state: str
    """``replayed`` or ``dropped``."""
    to: str
    """The consumer group that it was replayed to; empty for a dropped one."""
    at: str
    """When, in ISO 8601."""


def record_of(address: Address, state: str, to: str = "") -> tuple[bytes, bytes]:
    """Key and value of the record that closes a letter, now."""
    value = {
        "topic": address.topic,
        "partition": address.partition,
        "offset": address.offset,
        "timestamp": address.timestamp,
        "state": state,
        "to": to,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return f"{address.topic} {address.place}".encode(), json.dumps(value).encode()


def read_record(record: Record) -> tuple[Address, Done] | None:
    """The letter that a record closes; None when it is not a record of ours."""
    try:
        value = parsed(text_of(record.value))
        moment, place = int(value["timestamp"]), (int(value["partition"]), int(value["offset"]))
        address = Address(moment, str(value["topic"]), *place)
        return address, Done(str(value["state"]), str(value["to"]), str(value["at"]))
    except (ValueError, TypeError, KeyError):
        return None


async def closed_letters(
    reader: TopicReader, topics: Mapping[str, int], last: int | None = None
) -> dict[Address, Done]:
    """All letters that are no longer open; of the ``last`` records where only those may be read."""
    if DEAD_LETTERS_DONE not in topics:
        return {}
    spans = await reader.spans({DEAD_LETTERS_DONE: topics[DEAD_LETTERS_DONE]})
    wanted = spans if last is None else {tp: span.last(last) for tp, span in spans.items()}
    found: dict[Address, Done] = {}
    async for record in reader.records(wanted):
        entry = read_record(record)
        if entry is not None:
            found[entry[0]] = entry[1]
    return found


def open_count(
    spans: Mapping[Any, Span], closed: Mapping[Address, Done], topics: Sequence[str]
) -> dict[str, int]:
    """How many letters of each dead-letter topic wait for a person."""
    counts = dict.fromkeys(topics, 0)
    for tp, span in spans.items():
        if tp.topic in counts:
            counts[tp.topic] += len(span)
    for address in closed:
        span = spans.get((address.topic, address.partition), Span(0, 0))
        if span.first <= address.offset < span.end:
            counts[address.topic] = max(0, counts[address.topic] - 1)
    return counts
