"""One service's OpenAPI document, read with the distrust that anything fetched deserves.

What comes out is plain, of bounded depth, and refers to nothing outside itself, so that merging it
cannot fail and no service can spoil the others' page.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from app.policy import Operation

Component = tuple[str, str]
"""Section and name: `("schemas", "Problem")`."""

_DEEPEST = 64
_SECTIONS = "schemas|responses|parameters|examples|requestBodies|headers"
_REFERENCE = re.compile(rf"#/components/({_SECTIONS})/([A-Za-z0-9._-]+)")
# Of an operation only this: `servers`, say, would send "Try it out" to somewhere else.
_KEPT: dict[str, type] = {
    "summary": str,
    "description": str,
    "operationId": str,
    "deprecated": bool,
    "parameters": list,
    "requestBody": dict,
    "responses": dict,
}


class MalformedDocument(Exception):
    """Not an OpenAPI document to show; the message says why."""


@dataclass(frozen=True, slots=True)
class ServiceDocument:
    """What is used of a document.

    Attributes:
        about: the service in its own words.
        operations: by method (`GET`) and path; those that were wanted and are there.
        components: what the operations refer to, and what that refers to.
    """

    about: str
    operations: Mapping[tuple[str, str], dict[str, Any]]
    components: Mapping[Component, Any]


def read_document(content: bytes, wanted: Iterable[Operation]) -> ServiceDocument:
    """The wanted operations of a document and what they need.

    Raises:
        MalformedDocument: it is not JSON, not of OpenAPI's shape, too deep, or refers to something
            that it does not hold.
    """
    document = _object(_parsed(content), "document")
    paths = _object(document.get("paths"), "paths")
    operations = {}
    for operation in wanted:
        item = _object(paths.get(operation.path, {}), "path item")
        if (found := item.get(operation.method.lower())) is not None:
            operations[operation.method, operation.path] = _operation(_object(found, "operation"))
    about = _object(document.get("info", {}), "info").get("description", "")
    return ServiceDocument(
        about=about if isinstance(about, str) else "",
        operations=operations,
        components=_components(document, operations.values()),
    )


def references(value: Any) -> Iterator[Component]:
    """The components that a part of a document refers to."""
    found: list[Component] = []

    def note(component: Component) -> str:
        found.append(component)
        return component[1]

    rewritten(value, note)
    return iter(found)


def rewritten(value: Any, name: Callable[[Component], str], depth: int = 0) -> Any:
    """A copy in which every reference, those of discriminators too, has the name it is given.

    Raises:
        MalformedDocument: too deep, or a reference to anything but a component.
    """
    if depth > _DEEPEST:
        raise MalformedDocument("it is nested too deeply")
    if isinstance(value, list):
        return [rewritten(item, name, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _member(key, item, name, depth + 1) for key, item in value.items()}
    return value


def _member(key: str, value: Any, name: Callable[[Component], str], depth: int) -> Any:
    if key == "$ref" and isinstance(value, str):
        return _renamed(value, name)
    copy = rewritten(value, name, depth)
    if key == "discriminator" and isinstance(copy, dict) and isinstance(copy.get("mapping"), dict):
        copy["mapping"] = {case: _renamed(target, name) for case, target in copy["mapping"].items()}
    return copy


def _renamed(reference: Any, name: Callable[[Component], str]) -> str:
    text = str(reference)
    match = _REFERENCE.fullmatch(text if "/" in text else f"#/components/schemas/{text}")
    if match is None:
        raise MalformedDocument("it refers to something outside its components")
    section, old = match.groups()
    return f"#/components/{section}/{name((section, old))}"


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise MalformedDocument("it is not JSON") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    """1e999 is JSON, but the infinity that Python makes of it is none."""
    if not math.isfinite(number := float(text)):
        raise ValueError("a number is too large")
    return number


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedDocument(f"its {what} is not an object")
    return value


def _operation(found: dict[str, Any]) -> dict[str, Any]:
    kept = {key: found[key] for key in _KEPT if key in found}
    for key, value in kept.items():
        if not isinstance(value, _KEPT[key]):
            raise MalformedDocument(f"an operation's {key} is not of its type")
    responses = kept.get("responses", {})
    for part in (*kept.get("parameters", ()), *responses.values()):
        _object(part, "parameter or response")
    if not responses:
        raise MalformedDocument("an operation has no responses")
    return kept


def _components(
    document: dict[str, Any], operations: Iterable[dict[str, Any]]
) -> dict[Component, Any]:
    """What the operations reach; circles are allowed, dead ends are not."""
    all_of_them = _object(document.get("components", {}), "components")
    reached: dict[Component, Any] = {}
    waiting = [component for operation in operations for component in references(operation)]
    while waiting:
        section, name = component = waiting.pop()
        if component in reached:
            continue
        content = _object(all_of_them.get(section, {}), section).get(name)
        if not isinstance(content, dict | bool):
            raise MalformedDocument("it refers to a component that it does not hold")
        reached[component] = content
        waiting += references(content)
    return reached
