"""The sub-commands of ``make dlq`` and their output."""

from __future__ import annotations

import argparse
import asyncio
import heapq
from collections.abc import Mapping

from fleet.clients.printable import for_terminal, pretty, text_of
from fleet.clients.topic_reader import Span, TopicReader, topic_reader
from fleet.errors import FleetError
from fleet.terminal import paint, say, table
from fleet.tools.dead_letters.dead_letter import (
    SUFFIX,
    Address,
    DeadLetter,
    dead_letter_topic,
    place_of,
)
from fleet.tools.dead_letters.outcomes import Outcome, read_outcomes
from fleet.tools.dead_letters.plan import Choice, Plan
from fleet.tools.dead_letters.replay import drop, replay
from fleet.topics import DEAD_LETTERS_DONE

_HEADER = ("topic", "dead letter", "failed at", "group", "error", "tries", "message", "state")


def dlq(bootstrap: str, options: argparse.Namespace) -> None:
    """Run one sub-command; the default lists the open dead letters."""
    match options.action:
        case "show":
            asyncio.run(_show(bootstrap, options.topic, options.place))
        case "replay" | "drop":
            asyncio.run(_act(bootstrap, options))
        case _:
            asyncio.run(_list(bootstrap, options))


async def _list(bootstrap: str, options: argparse.Namespace) -> None:
    choice = Choice.parse((), options.error, options.group)
    rows: list[tuple[Address, tuple[str, ...]]] = []  # a heap of the latest
    open_count = done_count = 0
    async with topic_reader(bootstrap) as reader:
        topics = await reader.topics()
        named = [dead_letter_topic(options.topic, list(topics))] if options.topic else topics
        closed = await read_outcomes(reader, topics)
        wanted = {name: topics[name] for name in named if name.endswith(SUFFIX)}
        async for record in reader.records(await reader.spans(wanted)):
            letter = DeadLetter.from_record(record)
            if not choice.fits(letter):
                continue
            state = closed.get(letter.address)
            open_count += state is None
            done_count += state is not None
            if options.all or state is None:
                heapq.heappush(rows, (letter.address, _row(letter, state)))
                if len(rows) > options.limit:
                    heapq.heappop(rows)
    shown = [row for _, row in sorted(rows)]
    if shown:
        say(table(_HEADER, shown))
    if (open_count + done_count * options.all) > len(shown):
        say(f"... and earlier ones: only the latest {len(shown):,} are shown (--limit)")
    hint = "" if options.all or not done_count else " (--all shows them)"
    say(f"{open_count:,} open, {done_count:,} done{hint}")


async def _show(bootstrap: str, name: str, place: str) -> None:
    partition, offset = place_of(place)
    async with topic_reader(bootstrap) as reader:
        topics = await reader.topics()
        topic = dead_letter_topic(name, list(topics))
        closed = await read_outcomes(reader, topics)
        spans = await reader.spans({topic: topics[topic]})
        one = {
            tp: Span(offset, offset + 1)
            for tp, span in spans.items()
            if tp.partition == partition and span.first <= offset < span.end
        }
        found = [DeadLetter.from_record(record) async for record in reader.records(one)]
    if not found:
        raise FleetError(f"There is no dead letter at {place} of {topic}. See: make dlq")
    _print(found[0], closed.get(found[0].address))


async def _act(bootstrap: str, options: argparse.Namespace) -> None:
    to = options.to if options.action == "replay" else None
    choice = Choice.parse(options.places, options.error, options.group)
    async with topic_reader(bootstrap) as reader:
        topics = await reader.topics()
        topic = dead_letter_topic(options.topic, list(topics))
        _require(topics, topic.removesuffix(SUFFIX), DEAD_LETTERS_DONE)
        plan = await make_plan(reader, topics, topic, choice, to)
    _announce(plan, topic, options)
    if not plan.chosen:
        return
    if not options.yes:
        say(f"Nothing was {'sent' if to is not None else 'changed'}. To execute, add: --yes")
    elif to is None:
        await drop(bootstrap, plan.chosen)
    else:
        await replay(bootstrap, topic, plan.chosen, options.rate)


async def make_plan(
    reader: TopicReader, topics: Mapping[str, int], topic: str, choice: Choice, to: str | None
) -> Plan:
    """Read all dead letters of a topic into a plan; ``to`` as in ``Plan.consider``."""
    closed = await read_outcomes(reader, topics)
    plan, seen = Plan(), set()
    async for record in reader.records(await reader.spans({topic: topics[topic]})):
        seen.add((record.partition, record.offset))
        plan.consider(DeadLetter.from_record(record), choice, closed, to)
    plan.require_all(choice, seen)
    return plan


def _require(topics: Mapping[str, int], *names: str) -> None:
    missing = [name for name in names if name not in topics]
    if missing:
        raise FleetError(
            f"Kafka has no topic {missing[0]!r}. Create the platform's topics first: `make up`, "
            "or in Docker `docker compose up topics`."
        )


def _announce(plan: Plan, topic: str, options: argparse.Namespace) -> None:
    does = {"replay": "replay", "drop": "drop"}[options.action]
    count = len(plan.chosen)
    if options.action == "replay" and count:
        groups = ", ".join(for_terminal(group) for group in sorted(set(plan.chosen.values())))
        to = f" to {groups}, at most {options.rate:g} per second"
    else:
        to = ""
    intent = does.capitalize() if options.yes else f"Would {does}"
    say(f"{intent} {count:,} dead letters of {topic}{to}")
    if plan.preview and not options.yes:
        say(table(_HEADER, [_row(letter, None) for letter in plan.preview]))
        if count > len(plan.preview):
            say(f"... and {count - len(plan.preview):,} more")
    for reason, number in sorted(plan.left_out.items()):
        say(f"  left out: {number:,}, {for_terminal(reason)}")


def _row(letter: DeadLetter, done: Outcome | None) -> tuple[str, ...]:
    cells = (
        letter.address.topic,
        letter.address.place,
        _time(letter),
        letter.group or "?",
        letter.error_class or "?",
        letter.attempts or "?",
        letter.original or "?",
        _state(done),
    )
    return tuple(" ".join(for_terminal(cell).split())[:60] for cell in cells)


def _print(letter: DeadLetter, done: Outcome | None) -> None:
    facts = {
        "letter": f"{letter.address.topic} {letter.address.place}",
        "failed": f"{_time(letter)} in {letter.group or '?'}",
        "error": f"{letter.error_class or '?'} {letter.error}".rstrip(),
        "tries": letter.attempts or "?",
        "message": f"{letter.topic} {letter.original or '?'}",
        "state": _state(done),
        "key": text_of(letter.key) if letter.key is not None else "none",
    }
    for name, fact in facts.items():
        say(f"{paint(f'{name:<8}', 'dim')} {for_terminal(fact)}")
    say(paint("headers", "dim"))
    for name, value in letter.headers:
        say(f"  {for_terminal(name)}: {for_terminal(text_of(value))}")
    say(paint("value", "dim"))
    say(for_terminal(pretty(text_of(letter.value))) if letter.value is not None else "none")


def _state(done: Outcome | None) -> str:
    if done is None:
        return "open"
    return f"{done.state} {done.at[:16].replace('T', ' ')}" + (f" to {done.to}" if done.to else "")


def _time(letter: DeadLetter) -> str:
    return f"{letter.when:%Y-%m-%d %H:%M:%S}Z"
