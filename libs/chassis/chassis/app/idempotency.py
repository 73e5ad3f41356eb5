"""Recognise a repeated request by the text that was stored under its Idempotency-Key.

A key outlives a deployment: the stored text may come from an older or, during a rolling upgrade,
from a newer release. An optional field that one of the two does not have must not turn the same
request into another one.
"""

import json
import unicodedata
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ValidationError

REPLAYED_HEADER = "Idempotent-Replayed"

REPLAYABLE: dict[str, Any] = {
    "headers": {
        REPLAYED_HEADER: {
            "description": "`true` if this is the stored response to an earlier request with the "
            "same Idempotency-Key. Nothing was done again, and the response may be out of date.",
            "schema": {"type": "string", "enum": ["true"]},
        }
    }
}
"""The OpenAPI description of a successful response that may be a replay, for `responses`."""


def replay_headers(*, replayed: bool) -> dict[str, str]:
    """Return the header that marks a replayed response; none for a first response."""
    return {REPLAYED_HEADER: "true"} if replayed else {}


def request_text(request: BaseModel) -> str:
    """Return the text to store under a key.

    Fields at their default are left out, so a release without such a field stores the same text.
    """
    return request.model_dump_json(exclude_defaults=True)


def is_same_request(stored: str, request: BaseModel) -> bool:
    """Return True if `stored`, the `request_text` of any release, is the same request.

    The stored text is read with today's model. A field that it does not have gets its default,
    which makes an absent field, an explicit null and an explicit default equal.
    """
    try:
        earlier = type(request).model_validate(json.loads(stored, parse_float=Decimal))
    except ValidationError:
        return False  # for example a field of a newer release
    return _comparable(earlier) == _comparable(request)


def _comparable(request: BaseModel) -> dict[str, Any]:
    document: dict[str, Any] = normalized(request.model_dump(mode="json"))
    return document


def normalized(document: Any) -> Any:
    """Return a JSON document with all text in Unicode normalization form C."""
    if isinstance(document, str):
        return unicodedata.normalize("NFC", document)
    if isinstance(document, list):
        return [normalized(element) for element in document]
    if isinstance(document, dict):
        return {normalized(name): normalized(value) for name, value in document.items()}
    return document
