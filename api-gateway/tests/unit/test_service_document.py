"""Reading of a service's OpenAPI document: kept and refused content."""

import json
from typing import Any

import pytest

from app.service_document import MalformedDocument, read_document
from tests.unit.documents import CREATE, LIST, TABLE, a_document, an_operation, reference

GET_LIST = ("GET", "/api/products")


def test_only_operations_of_the_role_table_are_kept() -> None:
    operations = {
        GET_LIST: an_operation(),
        ("GET", "/metrics"): an_operation(),
        ("DELETE", "/api/products"): an_operation(),
    }
    document = read_document(a_document(operations, about="The catalogue"), TABLE)
    assert list(document.operations) == [GET_LIST]
    assert document.about == "The catalogue"


def test_missing_operation_is_no_error() -> None:
    assert not read_document(a_document({}), [LIST, CREATE]).operations


def test_servers_security_callbacks_and_tags_are_dropped() -> None:
    operation = an_operation(
        servers=[{"url": "https://elsewhere.test"}], security=[], callbacks={}, tags=["x"]
    )
    document = read_document(a_document({GET_LIST: operation}), TABLE)
    assert document.operations[GET_LIST].keys() == {"summary", "responses"}


def test_component_references_are_followed_through_cycles() -> None:
    schemas = {
        "Page": {"properties": {"items": {"items": reference("Item")}}},
        "Item": {"properties": {"parent": reference("Item"), "page": reference("Page")}},
        "Unused": {"type": "string"},
    }
    content = a_document({GET_LIST: an_operation(reference("Page"))}, schemas)
    document = read_document(content, TABLE)
    assert document.components == {
        ("schemas", "Page"): schemas["Page"],
        ("schemas", "Item"): schemas["Item"],
    }


def test_discriminator_mapping_is_a_reference() -> None:
    schema = {"discriminator": {"propertyName": "kind", "mapping": {"a": "Cat", "b": "Dog"}}}
    schema["discriminator"]["mapping"]["b"] = reference("Dog")["$ref"]  # type: ignore[index]
    content = a_document({GET_LIST: an_operation(schema)}, {"Cat": {}, "Dog": {}, "Cow": {}})
    assert {name for _, name in read_document(content, TABLE).components} == {"Cat", "Dog"}


def with_operation(operation: Any) -> bytes:
    return a_document({GET_LIST: operation})


DEEP: Any = {}
for _ in range(100):
    DEEP = {"items": DEEP}

HOSTILE = {
    "nothing": b"",
    "not JSON": b"<html>",
    "not UTF-8": b'"\xff"',
    "infinity": b'{"paths": {}, "x": Infinity}',
    "a number that overflows to infinity": b'{"paths": {}, "x": 1e999}',
    "a very long integer": b'{"paths": {}, "x": ' + b"9" * 5_000 + b"}",
    "a hundred thousand brackets": b"[" * 100_000,
    "a list": b"[]",
    "null": b"null",
    "no paths": b"{}",
    "paths are text": b'{"paths": "/api/products"}',
    "a path is a list": b'{"paths": {"/api/products": []}}',
    "info is text": b'{"paths": {}, "info": "none"}',
    "components are a list": json.dumps(
        json.loads(with_operation(an_operation(reference("A")))) | {"components": []}
    ).encode(),
    "the operation is text": with_operation("GET"),
    "the summary is an object": with_operation(an_operation(summary={})),
    "parameters are an object": with_operation(an_operation(parameters={})),
    "a parameter is text": with_operation(an_operation(parameters=["page"])),
    "responses are a list": with_operation(an_operation(responses=[])),
    "there are no responses": with_operation(an_operation(responses={})),
    "a response is text": with_operation(an_operation(responses={"200": "OK"})),
    "an external schema": with_operation(an_operation({"$ref": "https://evil.test/a.json"})),
    "a file": with_operation(an_operation({"$ref": "/etc/passwd"})),
    "a part of the paths": with_operation(an_operation({"$ref": "#/paths/~1api"})),
    "a security scheme": with_operation(an_operation({"$ref": "#/components/securitySchemes/a"})),
    "a missing component": with_operation(an_operation(reference("Nothing"))),
    "a component that is text": a_document(
        {GET_LIST: an_operation(reference("A"))}, {"A": "object"}
    ),
    "an operation nested too deeply": with_operation(an_operation(DEEP)),
    "a schema nested too deeply": a_document({GET_LIST: an_operation(reference("A"))}, {"A": DEEP}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_invalid_openapi_document_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedDocument):
        read_document(content, TABLE)
