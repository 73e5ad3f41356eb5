"""Compare contracts/asyncapi.yaml with the code: topics, their users, and event classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from checks.compatibility.events import DEAD_LETTERS, EventApi
from checks.compatibility.schemas import Direction, Placed, breaks
from checks.compatibility.services import EventClass
from checks.compatibility.usage import Usage

_LIMITS = (
    *("minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum"),
    *("exclusiveMinimum", "exclusiveMaximum", "pattern", "format"),
)
_PROSE_HERE = ("decimal_places", "max_digits")
"""Limits of amounts of money. The schema of an event states them in its description."""


def differing_topics(
    api: EventApi, partitions: Mapping[str, int], days: Mapping[str, int]
) -> list[str]:
    """Compare channels with the table of topics."""
    found = [f"{name} is created and not described" for name in partitions.keys() - api.channels]
    for name in api.channels:
        if name not in partitions:
            found.append(f"{name} is described and not created")
            continue
        told, made = (api.partitions(name), api.days(name)), (partitions[name], days[name])
        if told != made:
            found.append(f"{name}: partitions and days are {made}, not {told}")
    return sorted(found)


def differing_use(api: EventApi, used: Mapping[str, Usage]) -> list[str]:
    """Compare senders and receivers of each topic with the source of the services.

    A consumer of a topic also sends to its dead-letter topic.
    """
    found = []
    for service, usage in used.items():
        dead_letters = {f"{topic}{DEAD_LETTERS}" for topic in usage.receives}
        code = {
            "sends": usage.sends | dead_letters | usage.retries,
            "receives": usage.receives | usage.retries,
            "follows": usage.follows,
        }
        for does, topics in code.items():
            told = _told(api, service, does)
            found += [f"{service} {does} {topic}: not described" for topic in topics - told]
            found += [f"{service} {does} {topic}: not in its code" for topic in told - topics]
    return sorted(found)


def _told(api: EventApi, service: str, does: str) -> set[str]:
    action = "send" if does == "sends" else "receive"
    return {
        each.channel
        for each in api.operations
        if each.service == service
        and each.action == action
        and (does == "sends" or (each.group == service) is (does == "receives"))
    }


def differing_classes(api: EventApi, classes: Iterable[EventClass]) -> list[str]:
    """Compare every event class with the schema of its event.

    A producer's class must have the schema's members and types. A consumer's class must accept all
    that the schema allows.
    """
    schemas = _schemas(api)
    found = []
    for each in classes:
        name = f"{each.service}, {each.name}"
        version = each.schema["properties"]["event_version"].get("const")
        schema = schemas.get((each.event_type, version))
        if schema is None:
            found.append(f"{name}: no message is a {each.event_type}, version {version}")
            continue
        own = _without(each.schema, _PROSE_HERE)
        differing = _made(schema, own) if each.makes else _read(schema, own)
        found += [f"{name}: {sentence}" for sentence in differing]
    return found


def _schemas(api: EventApi) -> dict[tuple[str, int], Mapping[str, Any]]:
    """Return (event_type, version) → schema."""
    return {
        (message["name"], int(name.rpartition(".v")[2])): api.payload(message).schema
        for channel in api.channels
        for name, message in api.messages(channel).items()
        if ".v" in name
    }


def _made(schema: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    """Of a producer: limits are left to its golden sample and to where its data come from."""
    shape, made = _always(_without(schema, _LIMITS)), _always(_without(own, _LIMITS))
    for name in sorted(made["properties"].keys() - shape["properties"].keys()):
        yield f"`{name}`: not in the schema"
    yield from breaks(Placed(shape, shape), Placed(made, made), Direction.ANSWER)


def _read(schema: Mapping[str, Any], own: Mapping[str, Any]) -> Iterator[str]:
    yield from breaks(Placed(own, own), Placed(schema, schema), Direction.ANSWER)


def _without(schema: Any, words: Iterable[str]) -> Any:
    if isinstance(schema, list):
        return [_without(each, words) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _without(each, words) for name, each in schema.items() if name not in words}


def _always(schema: Any) -> Any:
    """Return a schema with all members required, because a producer sends all of them."""
    if isinstance(schema, list):
        return [_always(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {name: _always(each) for name, each in schema.items()}
    if isinstance(schema.get("properties"), dict):
        whole["required"] = list(schema["properties"])
    return whole
