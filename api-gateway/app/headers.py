"""Allow-lists of the headers that are forwarded, one for each direction.

Hop-by-hop headers (RFC 9110 7.6.1), identity headers of any spelling, cookies and server banners
are on neither list.
"""

import re
from collections.abc import Iterable

from multidict import CIMultiDict

from app.errors import InvalidConnectionHeader

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
"""Request headers that are forwarded to the service."""

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
    "Location",  # only a path: clients cannot reach an internal host
    "Retry-After",
    "Vary",
    "WWW-Authenticate",
)
"""Response headers that are forwarded to the client."""

_TO_UPSTREAM = {name.lower().encode(): name for name in FORWARDED}
_REQUIRED_BY_UPSTREAM = {*_TO_UPSTREAM, b"authorization", b"content-length", b"host"}
_TO_CLIENT = frozenset(name.lower().encode() for name in RETURNED)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def header_values(headers: RawHeaders, name: bytes) -> list[str]:
    """Return every value of a header; `name` is in lower case."""
    return [value.decode("latin-1") for key, value in headers if key == name]


def upstream_headers(
    headers: RawHeaders, *, token: str | None, address: str, scheme: str, request_id: str
) -> CIMultiDict[str]:
    """Return the headers for the upstream: allowed ones, and those that only the gateway sets.

    Args:
        token: the verified token, so that the upstream verifies the same one.
        address: the caller's.

    Raises:
        InvalidConnectionHeader: `Connection` names a header that the upstream needs; removing it
            would change the request, for example into an anonymous one.
    """
    sent: CIMultiDict[str] = CIMultiDict()
    for name, value in headers:
        if name in _TO_UPSTREAM:
            sent.add(_TO_UPSTREAM[name], _text(value))
        elif name == b"connection" and not _REQUIRED_BY_UPSTREAM.isdisjoint(_listed(value)):
            raise InvalidConnectionHeader(InvalidConnectionHeader.example)
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    sent["X-Forwarded-For"] = address
    sent["X-Forwarded-Proto"] = scheme
    sent["X-Request-ID"] = request_id
    return sent


def _text(value: bytes) -> str:
    """Decode as UTF-8, because aiohttp encodes headers so; other bytes are replaced."""
    return value.decode("utf-8", "replace")


def _listed(value: bytes) -> Iterable[bytes]:
    return (part.strip().lower() for part in value.split(b","))


def response_headers(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """Return the headers of an upstream's response that are forwarded to the client."""
    return [
        (name, value)
        for key, value in headers
        if (name := key.lower()) in _TO_CLIENT and (name != b"location" or _is_path(value))
    ]


def _is_path(location: bytes) -> bool:
    return location.startswith(b"/") and not location.startswith((b"//", b"/\\"))


def has_control_characters(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a value has a control character, which a parser could take for a line end."""
    return _CONTROL.search(b"".join([value for _, value in headers])) is not None
