"""What every service's OpenAPI document is held to."""

from collections.abc import Mapping
from typing import Any


def tells_every_call_and_its_errors(document: Mapping[str, Any], service: str) -> None:
    """Each operation has a tag and a summary, and each of its errors is a problem document."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{service} {method.upper()} {path}"
            assert operation.get("tags"), where
            assert operation.get("summary"), where
            for status, refusal in operation["responses"].items():
                if status.startswith(("4", "5")) and not path.startswith("/health"):
                    assert list(refusal["content"]) == ["application/problem+json"], where
