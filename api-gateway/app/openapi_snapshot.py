"""Build the merged OpenAPI document from given documents, for the snapshot in contracts/openapi."""

import json
from collections.abc import Mapping
from typing import Any

from app.api_document import merged_document
from app.config import Settings
from app.policy import TABLE, Operation
from app.service_document import read_document


def openapi(documents: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the documents, by service name; every service of the role table must be included."""
    wanted: dict[str, list[Operation]] = {operation.upstream: [] for operation in TABLE}
    for operation in TABLE:
        wanted[operation.upstream].append(operation)
    read = {
        service: read_document(json.dumps(documents[service]).encode(), operations)
        for service, operations in wanted.items()
    }
    return merged_document(read, TABLE, Settings().oidc_issuer)
