"""Parse and validate one service's OpenAPI document before it is merged.

The result has a bounded depth and no references outside itself, so that merging cannot fail and
one service's invalid document does not affect the others.
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

_MAX_DEPTH = 64
_SECTIONS = "schemas|responses|parameters|examples|requestBodies|headers"
_REFERENCE = re.compile(rf"#/components/({_SECTIONS})/([A-Za-z0-9._-]+)")
# Other members are dropped: `servers`, for example, would send "Try it out" to another host.
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
    """The document is not a valid OpenAPI document; the message is the reason."""


@dataclass(frozen=True, slots=True)
class ServiceDocument:
    """The parts of a document that are used.

    Attributes:
        about: the document's description.
        operations: the requested operations by method (`GET`) and path.
        components: those that the operations refer to, directly or indirectly.
    """

    about: str
    operations: Mapping[tuple[str, str], dict[str, Any]]
    components: Mapping[Component, Any]


def read_document(content: bytes, wanted: Iterable[Operation]) -> ServiceDocument:
    """Return the wanted operations of a document and their components.

    Raises:
        MalformedDocument: it is not JSON, not an OpenAPI document, nested too deeply, or has a
            reference that cannot be resolved.
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
    """Return the components that a part of a document refers to."""
    found: list[Component] = []

    def note(component: Component) -> str:
        found.append(component)
        return component[1]

    rewritten(value, note)
    return iter(found)


def rewritten(value: Any, name: Callable[[Component], str], depth: int = 0) -> Any:
    """Copy a part of a document and rename every reference, including those of discriminators.

    Raises:
        MalformedDocument: nested too deeply, or a reference to something other than a component.
    """
    if depth > _MAX_DEPTH:
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
        raise MalformedDocument("a reference is not to one of its components")
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
    """Refuse 1e999, which is JSON, but which Python parses as infinity."""
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
            raise MalformedDocument(f"an operation's {key} has the wrong type")
    responses = kept.get("responses", {})
    for part in (*kept.get("parameters", ()), *responses.values()):
        _object(part, "parameter or response")
    if not responses:
        raise MalformedDocument("an operation has no responses")
    return kept


def _components(
    document: dict[str, Any], operations: Iterable[dict[str, Any]]
) -> dict[Component, Any]:
    """Return all components that the operations refer to; cycles are allowed."""
    available = _object(document.get("components", {}), "components")
    reached: dict[Component, Any] = {}
    waiting = [component for operation in operations for component in references(operation)]
    while waiting:
        section, name = component = waiting.pop()
        if component in reached:
            continue
        content = _object(available.get(section, {}), section).get(name)
        if not isinstance(content, dict | bool):
            raise MalformedDocument("it refers to a component that does not exist")
        reached[component] = content
        waiting += references(content)
    return reached
