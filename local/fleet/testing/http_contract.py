"""Scripts of HTTP calls (contracts/http) that one service relies on in another.

The consumer's tests run a script on their fake, the provider's tests run it on the real service, so
that fake and service stay equal.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

Step = dict[str, Any]


class Client(Protocol):
    """Protocol of the asynchronous HTTP client."""

    async def request(self, method: str, url: str, *, json: Any, headers: dict[str, str]) -> Any:
        """Send one request; the response has ``status_code``, ``text`` and ``json()``."""


def load(path: Path, given: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Read a script, with names in the place of ``{p}``, ``{k1}`` and their like.

    Args:
        given: fixed names; other names are generated.
    """
    text = path.read_text()
    for name in set(re.findall(r"\{(\w+)\}", text)):
        stand_in = (given or {}).get(name, f"{name}-{secrets.token_hex(4)}")
        text = text.replace(f"{{{name}}}", stand_in)
    script: dict[str, Any] = json.loads(text)
    return script


async def play(client: Client, steps: list[Step]) -> None:
    """Send the calls; compare status, fields, problem type and start of the detail."""
    for step in steps:
        method, url = step["call"].split(" ")
        pieces = step.get("items", {}).items()
        items = [{"product_id": product, "quantity": count} for product, count in pieces]
        headers = {"Idempotency-Key": step["key"]} if "key" in step else {}
        body = {"items": items} if items else step.get("body")
        answer = await client.request(method, url, json=body, headers=headers)
        if answer.status_code != step["status"]:
            raise AssertionError(f"{step}: {answer.status_code} {answer.text}")
        document = answer.json()
        expected = dict(step.get("has", {}))
        if "type" in step:
            expected["type"] = step["type"]
        differing = {name for name, value in expected.items() if document.get(name) != value}
        if differing or not _detail(document).startswith(step.get("detail", "")):
            raise AssertionError(f"{step}: {document}")


def _detail(document: Any) -> str:
    """Return a problem's detail; empty for other responses."""
    return str(document.get("detail", "")) if isinstance(document, dict) else ""
