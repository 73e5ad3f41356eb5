"""What `/openapi.json` holds when all services are there, made without asking them.

For contracts/openapi, where a change that breaks callers of the gateway is found before it runs.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.api_document import merged_document
from app.config import Settings
from app.policy import TABLE, Operation
from app.service_document import read_document


def openapi(documents: Mapping[str, Any]) -> dict[str, Any]:
    """The merged document of these, by service; those that the role table names must be there."""
    wanted: dict[str, list[Operation]] = {operation.upstream: [] for operation in TABLE}
    for operation in TABLE:
        wanted[operation.upstream].append(operation)
    read = {
        service: read_document(json.dumps(documents[service]).encode(), operations)
        for service, operations in wanted.items()
    }
    return merged_document(read, TABLE, Settings().oidc_issuer)
