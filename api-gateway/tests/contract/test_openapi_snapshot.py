"""The public API equals its snapshot in contracts/openapi."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.openapi_snapshot import openapi
from app.policy import TABLE
from app.service_document import MalformedDocument

SNAPSHOTS = Path(__file__).parents[3] / "contracts" / "openapi"


def snapshot(service: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SNAPSHOTS / f"{service}.json").read_text())
    return document


def services() -> dict[str, Any]:
    return {name: snapshot(name) for name in {operation.upstream for operation in TABLE}}


def test_exactly_the_operations_of_the_role_table_are_published() -> None:
    published = openapi(services())
    shown = {(m.upper(), path) for path, item in published["paths"].items() for m in item}
    assert shown == {(operation.method, operation.path) for operation in TABLE}
    assert published == snapshot("api-gateway")


def test_service_without_document_is_an_error() -> None:
    with pytest.raises(MalformedDocument):
        openapi({**services(), "order-service": {}})
