"""The Idempotency-Key header, and the comparison of a request with the one stored under its key.

A key outlives a deployment: the stored text may come from an older or, during a rolling upgrade,
from a newer release. An optional field that one of the two does not have must not turn the same
request into another one.
"""

import json
import re
import unicodedata
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from pydantic import BaseModel, ValidationError

from chassis.problems import Problem


class InvalidIdempotencyKey(Problem):
    status = 400
    type = "/problems/invalid-idempotency-key"
    title = "Invalid Idempotency-Key"
    example = "Idempotency-Key must be 1 to 255 visible ASCII characters."


async def _idempotency_key(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="1 to 255 visible ASCII characters. The same key with the same body gives "
            "the first answer again, with another body 422.",
        ),
    ] = None,
) -> str | None:
    values = request.headers.getlist("idempotency-key")
    if not values:
        return None
    if len(values) > 1 or not re.fullmatch(r"[\x21-\x7e]{1,255}", values[0]):
        raise InvalidIdempotencyKey(InvalidIdempotencyKey.example)
    return values[0]


# An async dependency, though it awaits nothing: FastAPI runs a plain one in a thread.
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
"""The request's Idempotency-Key, or None; a malformed one is a 400."""

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
