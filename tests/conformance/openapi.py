"""Checks that apply to the OpenAPI document of every service."""

from collections.abc import Mapping
from typing import Any


def assert_describes_every_operation(document: Mapping[str, Any], service: str) -> None:
    """Check that each operation has a tag and a summary, and that its errors are problems."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{service} {method.upper()} {path}"
            assert operation.get("tags"), where
            assert operation.get("summary"), where
            for status, refusal in operation["responses"].items():
                if status.startswith(("4", "5")) and not path.startswith("/health"):
                    assert list(refusal["content"]) == ["application/problem+json"], where
