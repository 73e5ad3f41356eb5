"""Limits on request bodies, in bytes and in JSON tokens."""

import re
from itertools import islice

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

MAX_JSON_TOKENS = 4_000
"""Strings, commas and opening brackets in one body; the largest valid body has about 1,500."""

# Possessive quantifiers, and no closing quote required: linear time on any input.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{,]', re.DOTALL)


def too_large(limit: int) -> str:
    """Return the detail of a 413."""
    return f"The body is larger than {limit} bytes."


def announced_length(scope: Scope) -> int | None:
    """Return the Content-Length of a request, or None without a valid one."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            text = value.decode("latin-1")
            return int(text) if text.isdecimal() else None
    return None


def limit_body(receive: Receive, limit: int) -> Receive:
    """Return `receive` with a limit on the total of bytes; beyond it, HTTPException 413."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, too_large(limit))
        return message

    return limited


def has_too_many_tokens(body: bytes) -> bool:
    """Return whether JSON has more than `MAX_JSON_TOKENS` tokens, without parsing it.

    A parsed element takes up to 100 times the memory of its JSON text, and a rejected one ten
    times more for its validation error. A limit in bytes alone does not bound either.
    """
    if len(body) <= MAX_JSON_TOKENS:
        return False
    return any(islice(_TOKEN.finditer(body), MAX_JSON_TOKENS, None))
