"""Generate a valid request body from an operation's schema, and variants with an invalid value."""

import json
from collections.abc import Callable, Iterator
from typing import Any

_MARK = "the value to replace"
_NAMED = {"customer_email": "alice@example.com"}  # formats that the schema does not express
_FORMATS = {
    "email": "alice@example.com",
    "uuid": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "uri": "https://example.com/a.png",
    "date-time": "2026-11-23T09:30:00Z",
}


def body_of(operation: dict[str, Any], document: dict[str, Any]) -> Any:
    """Return a valid body for an operation, or None if it has no body."""
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return None
    return _sample(content["application/json"]["schema"], document)


def with_invalid_values(
    body: Any, tokens: list[str], chosen: Callable[[Any], bool] = lambda _: True
) -> Iterator[bytes]:
    """Yield the body with each chosen value, at any depth, replaced by each raw JSON token."""
    for marked in _marked(body, chosen):
        text = json.dumps(marked)
        for token in tokens:
            yield text.replace(json.dumps(_MARK), token).encode("utf-8", "surrogatepass")


def _marked(body: Any, chosen: Callable[[Any], bool]) -> Iterator[Any]:
    if chosen(body):
        yield _MARK
    if isinstance(body, dict):
        for name, value in body.items():
            yield from ({**body, name: marked} for marked in _marked(value, chosen))
    elif isinstance(body, list):
        for value in body:
            yield from ([marked] for marked in _marked(value, chosen))


def _sample(schema: dict[str, Any], document: dict[str, Any]) -> Any:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _sample(document["components"]["schemas"][name], document)
    for choices in ("anyOf", "oneOf", "allOf"):
        if choices in schema:
            return _sample(schema[choices][0], document)
    for given in ("examples", "enum"):
        if schema.get(given):
            return schema[given][0]
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {n: _NAMED.get(n) or _sample(value, document) for n, value in properties.items()}
    if schema.get("type") == "array":
        return [_sample(schema["items"], document)]
    return _scalar(schema)


def _scalar(schema: dict[str, Any]) -> Any:
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "integer":
            return max(1, schema.get("minimum", 1))
        case "number":
            return float(max(1, schema.get("minimum", 1)))
        case "boolean":
            return True
        case _:
            return _FORMATS.get(schema.get("format", ""), "x" * max(1, schema.get("minLength", 1)))
