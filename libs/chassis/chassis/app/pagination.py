"""Pagination: page size, opaque cursors, and the `Link` header to the next page."""

import base64
import binascii
import json
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from chassis.problems import Problem

PageLimit = Annotated[int, Query(alias="limit", ge=1, le=100, description="rows on one page")]


class InvalidCursor(Problem):
    status = 400
    type = "/problems/invalid-cursor"
    title = "Invalid cursor"
    example = "This cursor was not made by this service; begin without one."


def encode_cursor(*parts: str) -> str:
    """Return an opaque text for the position where the next page begins."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> list[str]:
    """Return the `length` parts that `encode_cursor` was given.

    Raises:
        InvalidCursor: `encode_cursor` did not make this cursor.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise InvalidCursor(InvalidCursor.example) from None
    if not isinstance(parts, list) or len(parts) != length:
        raise InvalidCursor(InvalidCursor.example)
    if not all(isinstance(part, str) for part in parts):
        raise InvalidCursor(InvalidCursor.example)
    return parts


def link_next(request: Request, response: Response, cursor: str) -> None:
    """Add a `Link` header (RFC 8288) to the next page, with this page's other parameters."""
    pairs = [(k, v) for k, v in request.query_params.multi_items() if k != "cursor"]
    query = urlencode([*pairs, ("cursor", cursor)])
    path = request.scope["raw_path"].decode("ascii")
    response.headers["Link"] = f'<{path}?{query}>; rel="next"'
