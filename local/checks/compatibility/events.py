"""Check contracts/asyncapi.yaml for consistency and for changes that break a consumer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

from checks.compatibility.schemas import Direction, Placed, breaks, resolve

_SCHEMA = Path(__file__).parent / "asyncapi" / "3.0.0.schema.json"
_DAY = 86_400_000  # milliseconds
DEAD_LETTERS = ".dlq"


@dataclass(frozen=True)
class Operation:
    """One operation: a service sends to or receives from a channel."""

    name: str
    action: str
    service: str
    channel: str
    messages: frozenset[str]
    group: str | None
    """Of which one replica gets a message; None: each gets every one."""


@dataclass(frozen=True)
class EventApi:
    """The document, and the payload schemas of its messages in separate files.

    Args:
        files: by the address in the document, such as ``./events/order-placed.v1.schema.json``.
    """

    document: Mapping[str, Any]
    files: Mapping[str, Any]

    @property
    def channels(self) -> Mapping[str, Any]:
        """Return channels by name, which is the topic's name."""
        return dict(self.document.get("channels", {}))

    def partitions(self, channel: str) -> Any:
        """Return the number of partitions of a channel."""
        return self.channels[channel]["bindings"]["kafka"]["partitions"]

    def days(self, channel: str) -> float:
        """Return the retention of a channel in days."""
        topic = self.channels[channel]["bindings"]["kafka"]["topicConfiguration"]
        return float(topic["retention.ms"] / _DAY)

    def messages(self, channel: str) -> Mapping[str, Any]:
        """Return the messages of a channel by name, with references resolved."""
        named = self.channels[channel].get("messages", {})
        return {name: self._resolved(message) for name, message in named.items()}

    def payload(self, message: Mapping[str, Any]) -> Placed:
        """Return a message's payload schema; raise ``KeyError`` if its file is missing."""
        payload = message.get("payload", {})
        if "$ref" in payload and not payload["$ref"].startswith("#"):
            content = self.files[payload["$ref"]]
            return Placed(content, content)
        return Placed(payload, self.document)

    @cached_property
    def operations(self) -> tuple[Operation, ...]:
        """Return all operations."""
        return tuple(_operation(*each) for each in self.document.get("operations", {}).items())

    def receivers(self, channel: str, message: str) -> list[str]:
        """Return the services that receive a message."""
        found = {
            operation.service
            for operation in self.operations
            if (operation.action, operation.channel) == ("receive", channel)
            and message in operation.messages
        }
        return sorted(found)

    def _resolved(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" in part:
            found: Mapping[str, Any] = resolve(part["$ref"], self.document)
            return found
        return part


def _operation(name: str, told: Mapping[str, Any]) -> Operation:
    group = told.get("bindings", {}).get("kafka", {}).get("groupId", {}).get("const")
    messages = frozenset(each["$ref"].rpartition("/")[2] for each in told["messages"])
    channel = told["channel"]["$ref"].removeprefix("#/channels/")
    return Operation(name, told["action"], told.get("x-service", ""), channel, messages, group)


def mistakes(api: EventApi) -> list[str]:
    """List the inconsistencies of the document."""
    validator = Draft7Validator(json.loads(_SCHEMA.read_text()))
    errors = sorted(validator.iter_errors(api.document), key=lambda error: list(error.path))
    if errors:
        return [f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in errors]
    try:
        return [*_unheard(api), *_mistaken_messages(api)]
    except KeyError as error:
        return [f"refers to {error}, which does not exist"]


def _unheard(api: EventApi) -> Iterator[str]:
    """Check that each message has a sender, and that receivers of a channel know all messages."""
    for channel in api.channels:
        there = [each for each in api.operations if each.channel == channel]
        sent = {name for each in there if each.action == "send" for name in each.messages}
        if sent != api.messages(channel).keys():
            yield f"{channel}: no service sends {sorted(api.messages(channel).keys() ^ sent)}"
        receivers = [each for each in there if each.action == "receive"]
        if not receivers:
            yield f"{channel}: no service receives it"
        for each in receivers:
            for name in sorted(sent - each.messages):
                yield f"{channel}: {name} is sent, which {each.service} does not receive"


def _mistaken_messages(api: EventApi) -> Iterator[str]:
    for channel in api.channels:
        for name, message in api.messages(channel).items():
            payload, document = api.payload(message).schema, message["bindings"]["kafka"]["key"]
            key = document.get("x-member")
            if key and key not in payload.get("required", ()):
                yield f"{name}: its key is {key}, which its payload does not always have"
            if ".v" not in name:
                continue
            if f"Message key: {key}." not in payload["description"]:
                yield f"{name}: its key is {key}, which its schema's description does not say"
            constants = payload["properties"]
            told = constants["event_type"]["const"], constants["event_version"]["const"]
            version = int(name.rpartition(".v")[2])
            if told != (message["name"], version):
                yield f"{name}: its schema is that of {told[0]}, version {told[1]}"


def breaking_changes(old: EventApi, new: EventApi) -> list[str]:
    """List changes of channels and messages that break a sender or a receiver."""
    return [sentence for channel in old.channels for sentence in _channel(old, new, channel)]


def _channel(old: EventApi, new: EventApi, channel: str) -> Iterator[str]:
    if channel not in new.channels:
        yield f"{channel} is gone"
        return
    if (before := old.partitions(channel)) != (after := new.partitions(channel)):
        yield f"{channel}: {after} partitions, not {before}: a key's messages change places"
    known = new.messages(channel)
    for name, message in old.messages(channel).items():
        whom = f"{channel}, {name} (for {', '.join(old.receivers(channel, name))})"
        if name not in known:
            yield f"{whom} is gone"
            continue
        first, second = message["bindings"]["kafka"]["key"], known[name]["bindings"]["kafka"]["key"]
        if first != second:
            yield f"{whom}: another key"
        placed = [
            Placed({"$ref": "#/h"}, {**api.document, "h": told.get("headers", {})})
            for api, told in ((old, message), (new, known[name]))
        ]
        for sentence in breaks(placed[0], placed[1], Direction.ANSWER):
            yield f"{whom}: header {sentence}"
        if "$ref" not in message.get("payload", {}):
            payloads = old.payload(message), new.payload(known[name])
            yield from (f"{whom}: {each}" for each in breaks(*payloads, Direction.ANSWER))
