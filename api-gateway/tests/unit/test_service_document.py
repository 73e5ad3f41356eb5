"""Reading what a service says of itself: what is kept, and what is refused."""

import json
from typing import Any

import pytest

from app.service_document import MalformedDocument, read_document
from tests.unit.documents import CREATE, LIST, TABLE, a_document, an_operation, reference

GET_LIST = ("GET", "/api/products")


def test_only_what_the_role_table_names_is_kept() -> None:
    operations = {
        GET_LIST: an_operation(),
        ("GET", "/metrics"): an_operation(),
        ("DELETE", "/api/products"): an_operation(),
    }
    document = read_document(a_document(operations, about="The catalogue"), TABLE)
    assert list(document.operations) == [GET_LIST]
    assert document.about == "The catalogue"


def test_an_operation_that_a_service_lacks_is_no_error() -> None:
    assert not read_document(a_document({}), [LIST, CREATE]).operations


def test_where_requests_go_is_not_for_a_service_to_say() -> None:
    operation = an_operation(
        servers=[{"url": "https://elsewhere.test"}], security=[], callbacks={}, tags=["x"]
    )
    document = read_document(a_document({GET_LIST: operation}), TABLE)
    assert document.operations[GET_LIST].keys() == {"summary", "responses"}


def test_components_are_followed_in_circles_and_through_each_other() -> None:
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


def test_what_only_a_discriminator_names_is_a_reference_too() -> None:
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
    "what becomes infinity": b'{"paths": {}, "x": 1e999}',
    "an endless integer": b'{"paths": {}, "x": ' + b"9" * 5_000 + b"}",
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
    "a schema elsewhere": with_operation(an_operation({"$ref": "https://evil.test/a.json"})),
    "a file": with_operation(an_operation({"$ref": "/etc/passwd"})),
    "a part of the paths": with_operation(an_operation({"$ref": "#/paths/~1api"})),
    "a security scheme": with_operation(an_operation({"$ref": "#/components/securitySchemes/a"})),
    "a component that is not there": with_operation(an_operation(reference("Nothing"))),
    "a component that is text": a_document(
        {GET_LIST: an_operation(reference("A"))}, {"A": "object"}
    ),
    "an operation without a bottom": with_operation(an_operation(DEEP)),
    "a schema without a bottom": a_document({GET_LIST: an_operation(reference("A"))}, {"A": DEEP}),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_not_an_openapi_document_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedDocument):
        read_document(content, TABLE)
