"""Which headers pass, in each direction: two lists of what may, not of what may not.

Hop-by-hop headers (RFC 9110 7.6.1), identity headers of any spelling, cookies and banners are on
neither list.
"""

import re
from collections.abc import Iterable

from multidict import CIMultiDict

from app.errors import RequestRefused

RawHeaders = list[tuple[bytes, bytes]]

FORWARDED = (
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Unmodified-Since",
    "Last-Event-ID",
    "Prefer",
    "User-Agent",
)
"""A client's headers that reach the service."""

RETURNED = (
    "Accept",
    "Accept-Encoding",
    "Allow",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Content-Length",
    "Content-Security-Policy",
    "Content-Type",
    "ETag",
    "Expires",
    "Idempotent-Replayed",
    "Last-Modified",
    "Link",
    "Location",  # only a path: an address of ours means nothing to clients
    "Retry-After",
    "Vary",
    "WWW-Authenticate",
)
"""A service's headers that reach the client."""

_TO_UPSTREAM = {name.lower().encode(): name for name in FORWARDED}
_NOT_TO_BE_DROPPED = {*_TO_UPSTREAM, b"authorization", b"content-length", b"host"}
_TO_CLIENT = frozenset(name.lower().encode() for name in RETURNED)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def values_of(headers: RawHeaders, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key == name]


def for_upstream(
    headers: RawHeaders, *, token: str | None, address: str, scheme: str, request_id: str
) -> CIMultiDict[str]:
    """What the upstream is sent: what may pass, and what only the gateway says.

    Args:
        token: the verified one; the header is written anew, so that the upstream judges the same.
        address: the caller's.

    Raises:
        RequestRefused: `Connection` names a header that must reach the upstream; dropping it would
            make the request another one (an anonymous one, say).
    """
    sent: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        if name in _TO_UPSTREAM:
            sent.add(_TO_UPSTREAM[name], _text(value))
        elif name == b"connection" and not _NOT_TO_BE_DROPPED.isdisjoint(_listed(value)):
            raise RequestRefused(RequestRefused.example)
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    sent["X-Forwarded-For"] = address
    sent["X-Forwarded-Proto"] = scheme
    sent["X-Request-ID"] = request_id
    return sent


def _text(value: bytes) -> str:
    """As aiohttp will encode it again: what is no UTF-8 is lost either way."""
    return value.decode("utf-8", "replace")


def _listed(value: bytes) -> Iterable[bytes]:
    return (part.strip().lower() for part in value.split(b","))


def for_client(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """What of an upstream's answer reaches the client."""
    return [
        (name, value)
        for key, value in headers
        if (name := key.lower()) in _TO_CLIENT and (name != b"location" or _is_path(value))
    ]


def _is_path(location: bytes) -> bool:
    return location.startswith(b"/") and not location.startswith((b"//", b"/\\"))


def is_clean(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether no value holds a control character, which might end a line for somebody."""
    return _CONTROL.search(b"".join([value for _, value in headers])) is None
