"""Compare two versions of an HTTP API: operations, parameters, bodies and responses.

Only data on the wire matters. Operation ids, names of path parameters and components, descriptions,
and new operations, optional parameters and responses may change.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from checks.compatibility.schemas import Direction, Placed, breaks, resolve

_METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")
_TEMPLATE = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class Break:
    """One incompatible change: a sentence and its operation."""

    operation: str
    sentence: str


def breaking_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Break]:
    """List the changes that break a caller of the old API."""
    return list(_Apis(old, new).changes())


def major_of(document: Mapping[str, Any]) -> str:
    """Return the major version of the API, which an incompatible change must increase."""
    return str(document["info"]["version"]).partition(".")[0]


class _Apis:
    def __init__(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self._old = old
        self._new = new
        self._known: dict[tuple[str, str, Direction], list[str]] = {}

    def changes(self) -> Iterator[Break]:
        before, after = _operations(self._old), _operations(self._new)
        for key, (name, operation) in before.items():
            if key not in after:
                yield Break(name, "is gone")
                continue
            _, changed = after[key]
            yield from (Break(name, each) for each in self._operation(operation, changed))

    def _operation(self, old: Any, new: Any) -> Iterator[str]:
        yield from self._parameters(old, new)
        yield from self._body(old.get("requestBody"), new.get("requestBody"))
        yield from self._answers(old["responses"], new["responses"])
        allowed = old.get("security", self._old.get("security", []))
        wanted = new.get("security", self._new.get("security", []))
        if not all(_still_opens(key, wanted) for key in allowed or [{}]):
            yield "asks for a login that it did not ask for"

    def _parameters(self, old: Any, new: Any) -> Iterator[str]:
        before, after = _parameters(old, self._old), _parameters(new, self._new)
        for key, parameter in before.items():
            name = f"parameter {parameter['name']}"
            if key not in after:
                yield f"{name} is gone"
                continue
            now = after[key]
            if now.get("required") and not parameter.get("required"):
                yield f"{name} is required"
            for word in ("style", "explode"):
                if parameter.get(word) != now.get(word):
                    yield f"{name}: {word} changed"
            first, second = (each.get("schema", {}) for each in (parameter, now))
            if first.get("default") != second.get("default"):
                left_out = f"{second.get('default')!r}, not {first.get('default')!r}"
                yield f"{name}: left out, it means {left_out}"
            yield from self._schemas(first, second, Direction.REQUEST, name)
        for key in after.keys() - before.keys():
            if after[key].get("required"):
                yield f"parameter {after[key]['name']} is new and required"

    def _body(self, old: Any, new: Any) -> Iterator[str]:
        before, after = _followed(old, self._old), _followed(new, self._new)
        if after.get("required") and not before.get("required"):
            yield "a body is required"
        if before and not after:
            yield "takes no body any more"
            return
        yield from self._contents(before, after, Direction.REQUEST, "body")

    def _answers(self, old: Any, new: Any) -> Iterator[str]:
        for status, answer in old.items():
            name = f"answer {status}"
            if status not in new:
                yield f"{name} is gone"
                continue
            before, after = _followed(answer, self._old), _followed(new[status], self._new)
            yield from self._contents(before, after, Direction.ANSWER, name)
            for header, told in before.get("headers", {}).items():
                if header not in after.get("headers", {}):
                    yield f"{name}: header {header} is gone"
                    continue
                first, second = (
                    each.get("schema", {}) for each in (told, after["headers"][header])
                )
                yield from self._schemas(
                    first, second, Direction.ANSWER, f"{name}, header {header}"
                )

    def _contents(self, old: Any, new: Any, direction: Direction, name: str) -> Iterator[str]:
        after = new.get("content", {})
        for media_type, content in old.get("content", {}).items():
            if media_type not in after:
                yield f"{name}: {media_type} is gone"
                continue
            now = after[media_type]
            first, second = content.get("schema", {}), now.get("schema", {})
            yield from self._schemas(first, second, direction, name)
            for problem in sorted(_problems(content) - _problems(now)):
                yield f"{name}: the problem {problem} is gone"

    def _schemas(self, old: Any, new: Any, direction: Direction, name: str) -> Iterator[str]:
        pair = repr(old), repr(new), direction
        if pair not in self._known:  # many responses share the same problems
            before, after = Placed(old, self._old), Placed(new, self._new)
            self._known[pair] = breaks(before, after, direction)
        yield from (f"{name}: {sentence}" for sentence in self._known[pair])


def _operations(document: Mapping[str, Any]) -> dict[tuple[str, str], tuple[str, Any]]:
    """Return operations by method and path template without parameter names."""
    found = {}
    for path, item in document.get("paths", {}).items():
        for method in _METHODS:
            if method in item:
                shared = item.get("parameters", [])
                own = item[method].get("parameters", [])
                operation = {**item[method], "parameters": [*shared, *own], "path": path}
                key = (method, _TEMPLATE.sub("{}", path))
                found[key] = (f"{method.upper()} {path}", operation)
    return found


def _parameters(operation: Any, document: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """Return parameters by location and name; path parameters by position."""
    positions = [name[1:-1] for name in _TEMPLATE.findall(operation["path"])]
    found = {}
    for each in operation["parameters"]:
        parameter = _followed(each, document)
        place, name = parameter["in"], parameter["name"]
        if place == "path":
            name = str(positions.index(name))
        elif place == "header":
            name = name.lower()
        found[place, name] = parameter
    return found


def _followed(part: Any, document: Mapping[str, Any]) -> Any:
    """Return a parameter, body or response with its reference resolved."""
    if part and "$ref" in part:
        return resolve(part["$ref"], document)
    return part or {}


def _problems(content: Any) -> set[str]:
    """Return the problem types of the examples; callers distinguish errors by type."""
    values = [example.get("value") for example in content.get("examples", {}).values()]
    types = {value.get("type") for value in values if isinstance(value, Mapping)}
    return {each for each in types if isinstance(each, str) and each.startswith("/problems/")}


def _still_opens(key: Mapping[str, list[str]], wanted: list[Mapping[str, list[str]]]) -> bool:
    """Return whether every earlier login with its scopes is still sufficient."""
    return not wanted or any(
        all(set(scopes) <= set(key.get(name, ())) and name in key for name, scopes in one.items())
        for one in wanted
    )
