"""Parse requests: bounded forms, unique parameters, client credentials; OAuth errors."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qsl, unquote_plus

from fastapi import Request

LONGEST_BODY = 64 * 1024
MOST_FIELDS = 50

_FORM = "application/x-www-form-urlencoded"


class Refused(Exception):
    """An error response of the token endpoint; clients branch on ``error``."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form body; empty for another content type."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise Refused(413, "invalid_request", "Request entity too large")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return {}
    return fields_of(body.decode("utf-8", "replace"))


def query_of(request: Request) -> dict[str, str]:
    """Return the fields of the query string."""
    return fields_of(request.url.query)


def fields_of(text: str) -> dict[str, str]:
    """Parse fields; refuse a duplicate, which is ambiguous."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refused(400, "invalid_request", "Too many parameters") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refused(400, "invalid_request", "duplicated parameter")
    return fields


def with_basic_client(form: dict[str, str], authorization: str | None) -> dict[str, str]:
    """Return the form with the client credentials of a Basic Authorization header."""
    scheme, _, encoded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return form
    try:
        name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return form
    return {**form, "client_id": unquote_plus(name), "client_secret": unquote_plus(secret)}
