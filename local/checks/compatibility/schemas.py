"""Compatibility rules for JSON schemas: the reader must accept everything the sender may send.

Responses and events are sent with the new schema and read with the old one. Requests are sent with
the old schema and read with the new one. Readers of responses and events ignore unknown members; a
service refuses them in a request. Removing a member is incompatible in both directions.

A keyword without a rule must not change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from jsonschema import Draft202012Validator

Schema = Mapping[str, Any]

_LOWER = ("minLength", "minItems", "minProperties")
_UPPER = ("maxLength", "maxItems", "maxProperties", "max_digits", "decimal_places")
_BOUNDS = {
    "minimum": (("minimum", "ge"), ("exclusiveMinimum", "gt")),
    "maximum": (("maximum", "le"), ("exclusiveMaximum", "lt")),
}
"""Each with its names in JSON Schema and in what pydantic says of a decimal with a validator."""
_EXACT = ("pattern", "format", "multipleOf")
_STRUCTURE = {
    *("$ref", "anyOf", "oneOf", "allOf", "type", "enum", "const", "items", "uniqueItems"),
    *("properties", "required", "additionalProperties"),
    *(*_LOWER, *_UPPER, *_EXACT),
    *(name for kinds in _BOUNDS.values() for names in kinds for name in names),
}
_PROSE = {
    *("$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples"),
    *("example", "deprecated", "readOnly", "writeOnly", "discriminator", "xml", "externalDocs"),
    *("contentMediaType", "contentEncoding"),
}
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}


class Direction(Enum):
    """REQUEST: the service reads requests of old callers. ANSWER: old readers read its messages."""

    REQUEST = "request"
    ANSWER = "answer"


@dataclass(frozen=True)
class Placed:
    """A schema and the document of its references."""

    schema: Any
    document: Mapping[str, Any]

    def at(self, schema: Any) -> Placed:
        """Return another schema of the same document."""
        return Placed(schema, self.document)

    def alternatives(self) -> Iterator[Placed]:
        """Return the alternatives of the schema, each of one type and without references."""
        schema = {} if self.schema is True else self.schema
        if schema is False:
            return
        if "$ref" in schema:
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            target = resolve(schema["$ref"], self.document)
            yield from self.at({**target, **beside}).alternatives()
            return
        for word in ("anyOf", "oneOf"):
            if word in schema:
                beside = {name: value for name, value in schema.items() if name != word}
                for choice in schema[word]:
                    yield from self.at(_merged(beside, choice)).alternatives()
                return
        if "allOf" in schema:
            whole: Any = {name: value for name, value in schema.items() if name != "allOf"}
            for part in schema["allOf"]:
                whole = _merged(whole, self._without_reference(part))
            yield from self.at(whole).alternatives()
            return
        types = schema.get("type")
        if isinstance(types, list):
            yield from (self.at({**schema, "type": each}) for each in types)
            return
        yield self.at(schema)

    def _without_reference(self, part: Any) -> Any:
        if isinstance(part, Mapping) and "$ref" in part:
            return resolve(part["$ref"], self.document)
        return part


def _merged(one: Any, other: Any) -> Any:
    """Combine two schemas of an ``allOf``: the union of members, else the second's keyword."""
    if not isinstance(other, Mapping):
        return one if other else False
    whole = {**one, **other}
    if "properties" in one and "properties" in other:
        whole["properties"] = {**one["properties"], **other["properties"]}
    if "required" in one and "required" in other:
        whole["required"] = [*one["required"], *other["required"]]
    return whole


def resolve(reference: str, document: Mapping[str, Any]) -> Any:
    """Resolve ``#/components/schemas/Order``; raise ``KeyError`` if it does not exist."""
    if not reference.startswith("#/"):
        raise KeyError(f"{reference} points outside its document")
    found: Any = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def breaks(old: Placed, new: Placed, direction: Direction, where: str = "") -> list[str]:
    """List the incompatible changes, one sentence each."""
    return list(_Comparison(direction).compare(old, new, where))


@dataclass
class _Comparison:
    direction: Direction
    _under_way: set[tuple[int, int]] = field(default_factory=set)

    def compare(self, old: Placed, new: Placed, where: str) -> Iterator[str]:
        """Compare two schemas."""
        pair = id(_target(old)), id(_target(new))
        if pair in self._under_way:  # a recursive schema
            return
        self._under_way.add(pair)
        sent, read = self._sent_and_read(old, new)
        readers = list(read.alternatives())
        for one in sent.alternatives():
            yield from self._read_by_any(one, readers, where)
        self._under_way.discard(pair)

    def _sent_and_read(self, old: Any, new: Any) -> tuple[Any, Any]:
        return (old, new) if self.direction is Direction.REQUEST else (new, old)

    def _read_by_any(self, sent: Placed, readers: list[Placed], where: str) -> Iterator[str]:
        """Require that one alternative accepts the schema, else list the smallest difference."""
        closest: list[str] | None = None
        for read in readers:
            minded = list(self._simple(sent, read, where))
            if not minded:
                return
            alike = _kind(sent.schema) == _kind(read.schema)
            if alike and (closest is None or len(minded) < len(closest)):
                closest = minded
        expected = " or ".join(dict.fromkeys(_kind(read.schema) for read in readers)) or "nothing"
        yield from closest or [f"{_at(where)}{_kind(sent.schema)} is sent, {expected} is read"]

    def _simple(self, sent: Placed, read: Placed, where: str) -> Iterator[str]:
        """Compare two schemas of one type each."""
        values = _values(sent.schema)
        if values is not None:
            takes = Draft202012Validator(_scalar(read.schema))
            for value in values:
                if not takes.is_valid(value):
                    yield f"{_at(where)}{value!r} may be sent and is not known to who reads it"
            return
        if not _reads_type(sent.schema.get("type"), read.schema.get("type")):
            yield f"{_at(where)}{_kind(sent.schema)} is sent, {_kind(read.schema)} is read"
            return
        known = _values(read.schema)
        if known is not None:
            yield f"{_at(where)}any {_kind(sent.schema)} is sent, only {known} are read"
            return
        yield from _limits(sent.schema, read.schema, where)
        yield from _without_rule(sent.schema, read.schema, where)
        old, new = self._sent_and_read(sent, read)  # the same swap leads back
        if "array" in (old.schema.get("type"), new.schema.get("type")):
            before, after = (side.at(side.schema.get("items", {})) for side in (old, new))
            yield from self.compare(before, after, f"{where}[]")
        yield from self._members(old, new, where)

    def _members(self, old: Placed, new: Placed, where: str) -> Iterator[str]:
        before, after = (side.schema.get("properties", {}) for side in (old, new))
        gone = before.keys() - after.keys()
        for name in sorted(gone):
            yield f"{_at(where, name)}is gone"
        sent, read = self._sent_and_read(old, new)
        needed, always = (set(side.schema.get("required", ())) for side in (read, sent))
        for name in sorted(needed - always - gone):
            yield f"{_at(where, name)}is required by who reads it, and not always sent"
        for name in before:
            if name in after:
                member = old.at(before[name]), new.at(after[name])
                yield from self.compare(*member, f"{where}.{name}".removeprefix("."))
        yield from self._further_members(old, new, where)

    def _further_members(self, old: Placed, new: Placed, where: str) -> Iterator[str]:
        before, after = (side.schema.get("additionalProperties", True) for side in (old, new))
        if self.direction is Direction.REQUEST and after is False and before is not False:
            yield f"{_at(where)}members that it does not know are refused"
        elif isinstance(before, Mapping) or (isinstance(after, Mapping) and before is not False):
            yield from self.compare(old.at(before), new.at(after), f"{where}.*".removeprefix("."))


def _target(placed: Placed) -> Any:
    """Return an identity that does not change when references are followed."""
    schema = placed.schema
    if isinstance(schema, Mapping) and "$ref" in schema:
        return resolve(schema["$ref"], placed.document)
    return schema


def _at(*parts: str) -> str:
    """Format the position of a change; empty for the top level."""
    path = ".".join(part for part in parts if part)
    return f"`{path}`: " if path else ""


def _kind(schema: Schema) -> str:
    """Return the type of a schema, derived from its values if it has no type."""
    values = _values(schema)
    return str(schema.get("type", _TYPES[type(values[0])] if values else "anything"))


def _values(schema: Schema) -> list[Any] | None:
    """Return the values of an enum or constant."""
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _scalar(schema: Schema) -> dict[str, Any]:
    """Return the schema without nested schemas."""
    holding = ("properties", "items", "additionalProperties")
    return {name: value for name, value in schema.items() if name not in holding}


def _reads_type(sent: str | None, read: str | None) -> bool:
    return read is None or sent == read or (sent == "integer" and read == "number")


def _limits(sent: Schema, read: Schema, where: str) -> Iterator[str]:
    for word in _EXACT:
        if word in read and sent.get(word) != read[word]:
            yield _limit(where, word, sent.get(word), read[word])
    if read.get("uniqueItems") and not sent.get("uniqueItems"):
        yield _limit(where, "uniqueItems", None, True)
    for word in _LOWER:
        if read.get(word, 0) > sent.get(word, 0):
            yield _limit(where, word, sent.get(word), read[word])
    for word in _UPPER:
        if word in read and sent.get(word, float("inf")) > read[word]:
            yield _limit(where, word, sent.get(word), read[word])
    for word, sign in (("minimum", 1), ("maximum", -1)):
        promised, expected = _bound(sent, word, sign), _bound(read, word, sign)
        if expected > promised:
            yield _limit(where, word, promised[0] * sign, expected[0] * sign)


def _limit(where: str, word: str, promised: Any, expected: Any) -> str:
    return f"{_at(where)}{word} {expected!r} is relied on, {promised!r} is what is sent"


def _bound(schema: Schema, word: str, sign: int) -> tuple[float, bool]:
    """Return the bound and whether it is exclusive, so that the tighter bound compares greater."""
    whole = schema.get("type") == "integer"
    found = [(-float("inf"), False)]
    for names, excluded in zip(_BOUNDS[word], (False, True), strict=True):
        values = [float(schema[name]) * sign for name in names if name in schema]
        if excluded and whole:
            found += [(value + 1, False) for value in values]
        else:
            found += [(value, excluded) for value in values]
    return max(found)


def _without_rule(sent: Schema, read: Schema, where: str) -> Iterator[str]:
    for word in sorted(sent.keys() | read.keys()):
        if word in _STRUCTURE | _PROSE or word.startswith("x-"):
            continue
        if sent.get(word) != read.get(word):
            yield f"{_at(where)}`{word}` changed, and there is no rule for when it may"
