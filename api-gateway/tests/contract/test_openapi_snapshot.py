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


def test_every_operation_of_the_role_table_and_no_other_is_published() -> None:
    published = openapi(services())
    shown = {(m.upper(), path) for path, item in published["paths"].items() for m in item}
    assert shown == {(operation.method, operation.path) for operation in TABLE}
    assert published == snapshot("api-gateway")


def test_a_service_without_a_document_is_an_error_and_not_left_out() -> None:
    with pytest.raises(MalformedDocument):
        openapi({**services(), "order-service": {}})
