"""Outcomes of dead letters on the topic ``dead-letters-done``, one record for each.

The record is written after the replay. A crash between the two leaves a replayed dead letter open,
so a second replay is possible; its consumer deduplicates the event. Written in the other order, a
crash could lose the replay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fleet.clients.printable import parsed, text_of
from fleet.clients.topic_reader import Record, Span, TopicReader
from fleet.tools.dead_letters.dead_letter import Address
from fleet.topics import DEAD_LETTERS_DONE

REPLAYED, DROPPED = "replayed", "dropped"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one dead letter."""

    state: str
    """``replayed`` or ``dropped``."""
    to: str
    """The consumer group of the replay; empty for a dropped dead letter."""
    at: str
    """Time in ISO 8601."""


def outcome_record(address: Address, state: str, to: str = "") -> tuple[bytes, bytes]:
    """Return key and value of the record that stores an outcome with the current time."""
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


def parse_outcome(record: Record) -> tuple[Address, Outcome] | None:
    """Parse a stored outcome; return None for an invalid record."""
    try:
        value = parsed(text_of(record.value))
        moment, place = int(value["timestamp"]), (int(value["partition"]), int(value["offset"]))
        address = Address(moment, str(value["topic"]), *place)
        return address, Outcome(str(value["state"]), str(value["to"]), str(value["at"]))
    except (ValueError, TypeError, KeyError):
        return None


async def read_outcomes(
    reader: TopicReader, topics: Mapping[str, int], last: int | None = None
) -> dict[Address, Outcome]:
    """Return all stored outcomes, or those of the ``last`` records of each partition."""
    if DEAD_LETTERS_DONE not in topics:
        return {}
    spans = await reader.spans({DEAD_LETTERS_DONE: topics[DEAD_LETTERS_DONE]})
    wanted = spans if last is None else {tp: span.last(last) for tp, span in spans.items()}
    found: dict[Address, Outcome] = {}
    async for record in reader.records(wanted):
        entry = parse_outcome(record)
        if entry is not None:
            found[entry[0]] = entry[1]
    return found


def open_count(
    spans: Mapping[Any, Span], closed: Mapping[Address, Outcome], topics: Sequence[str]
) -> dict[str, int]:
    """Return the number of open dead letters of each topic."""
    counts = dict.fromkeys(topics, 0)
    for tp, span in spans.items():
        if tp.topic in counts:
            counts[tp.topic] += len(span)
    for address in closed:
        span = spans.get((address.topic, address.partition), Span(0, 0))
        if span.first <= address.offset < span.end:
            counts[address.topic] = max(0, counts[address.topic] - 1)
    return counts
