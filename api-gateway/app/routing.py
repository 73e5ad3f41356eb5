"""Match a request's path to an operation of the role table.

Paths are not normalised: a path that another server could interpret differently is refused. Each
segment is decoded once for matching; the path is forwarded as received.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from app.policy import Operation

MAX_BYTES = 4096
_CACHED_MATCHES = 1024
_PLAIN = re.compile(rb"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%[0-9A-Fa-f]{2})+)+/?")
_HIDDEN = re.compile(rb"%(?:5c|[01][0-9a-f]|7f)", re.IGNORECASE)  # \ and control characters
_SLASH = re.compile(rb"%2f", re.IGNORECASE)
# An encoded slash is allowed only in an e-mail address, before its @. order-service reads all that
# follows /user/ as the address.
_SLASH_ALLOWED = re.compile(r"/api/orders/user/[^/@]+@[^/@%]+")
_QUERY = re.compile(rb"[\x21-\x7e]*")


class MalformedAddress(Exception):
    """The path or query must not be forwarded; the message is for the caller."""


def check_query(query: bytes) -> None:
    """Raise MalformedAddress for a query with anything but visible ASCII."""
    if len(query) > MAX_BYTES or not _QUERY.fullmatch(query):
        raise MalformedAddress("The query is too long, or must be percent-encoded.")


def segments_of(raw_path: bytes) -> tuple[str, ...]:
    """Return the decoded segments of a path; a trailing slash adds an empty one.

    Raises:
        MalformedAddress: empty or dot segments, `;`, an encoded backslash or control character, an
            encoded slash outside an e-mail address, bytes that are not UTF-8, or too long.
    """
    if len(raw_path) > MAX_BYTES:
        raise MalformedAddress("The path is too long.")
    if not _PLAIN.fullmatch(raw_path) or _HIDDEN.search(raw_path):
        raise MalformedAddress("The path contains a character that is not allowed.")
    try:
        segments = tuple(_decode(part) for part in raw_path[1:].split(b"/"))
    except UnicodeDecodeError:
        raise MalformedAddress("The path is not UTF-8.") from None
    if not {".", ".."}.isdisjoint(segments):
        raise MalformedAddress("The path contains a dot segment.")
    if _SLASH.search(raw_path) and not _SLASH_ALLOWED.fullmatch("/" + "/".join(segments)):
        raise MalformedAddress("The path contains an encoded slash.")
    return segments


def _decode(part: bytes) -> str:
    """Decode a segment except its encoded slashes, which would look like separators."""
    if b"%" not in part:
        return part.decode("ascii")
    return "%2F".join(unquote_to_bytes(piece).decode() for piece in _SLASH.split(part))


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """The result of matching a path and method.

    Attributes:
        is_api: the path is below /api/, so an upstream may serve it.
        area: the segment after /api/, such as `products`; empty elsewhere.
        operation: None if the table has none for the method.
        allowed_methods: the path's methods, if `operation` is None.
    """

    is_api: bool = False
    area: str = ""
    operation: Operation | None = None
    allowed_methods: frozenset[str] = frozenset()


@dataclass(slots=True)
class _PathTemplate:
    """One path template and its operations by method."""

    pattern: re.Pattern[str]  # matches the decoded path; a parameter is text without a slash
    operations: dict[str, Operation] = field(default_factory=dict)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)))


class RouteTable:
    """Matches paths against the role table; literal segments come before parameters."""

    def __init__(self, table: Iterable[Operation]) -> None:
        templates: dict[str, _PathTemplate] = {}
        for row in table:
            template = templates.setdefault(row.path, _PathTemplate(_pattern(row.path)))
            template.operations[row.method] = row
        literal_first = sorted(
            templates, key=lambda path: ["{" in part for part in path.split("/")]
        )
        self._templates = [templates[path] for path in literal_first]
        self.match = lru_cache(_CACHED_MATCHES)(self._match)

    def _match(self, method: str, raw_path: bytes) -> RouteMatch:
        """Match a path; `match` is this method with a cache.

        Raises:
            MalformedAddress: as `segments_of`.
        """
        segments = segments_of(raw_path)
        found = self._find(method, "/" + "/".join(segments))
        area = segments[1] if segments[0] == "api" and len(segments) > 1 else ""
        if isinstance(found, Operation):
            return RouteMatch(segments[0] == "api", area, found)
        return RouteMatch(segments[0] == "api", area, None, found)

    def _find(self, method: str, path: str) -> Operation | frozenset[str]:
        wanted = "GET" if method == "HEAD" else method  # RFC 9110, section 9.3.2
        known: set[str] = set()
        for template in self._templates:
            if template.pattern.fullmatch(path):
                if (operation := template.operations.get(wanted)) is not None:
                    return operation
                known |= template.operations.keys()
        return frozenset(known)
