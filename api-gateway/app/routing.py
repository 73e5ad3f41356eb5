"""From a request's path, as it came, to the operation that it names.

Nothing is normalised: an address that another server might read differently is refused. What is
matched is each segment decoded once; what is forwarded is the path as it came.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from app.policy import Operation

LONGEST = 4096
_REMEMBERED = 1024
_PLAIN = re.compile(rb"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%[0-9A-Fa-f]{2})+)+/?")
_HIDDEN = re.compile(rb"%(?:5c|[01][0-9a-f]|7f)", re.IGNORECASE)  # \ and control characters
_SLASH = re.compile(rb"%2f", re.IGNORECASE)
# The one place for an encoded slash: an e-mail address before its @. order-service, too, takes all
# that follows /user/ as the address.
_SLASH_ALLOWED = re.compile(r"/api/orders/user/[^/@]+@[^/@%]+")
_QUERY = re.compile(rb"[\x21-\x7e]*")


class MalformedAddress(Exception):
    """No address to forward; the message is for the caller."""


def check_query(query: bytes) -> None:
    """Raises MalformedAddress for a query that holds something other than visible ASCII."""
    if len(query) > LONGEST or not _QUERY.fullmatch(query):
        raise MalformedAddress("The query is too long, or must be percent-encoded.")


def segments_of(raw_path: bytes) -> tuple[str, ...]:
    """The decoded segments of a path; a slash at its end is one more, empty.

    Raises:
        MalformedAddress: empty or dot segments, `;`, an encoded backslash or control character, an
            encoded slash outside an e-mail address, bytes that are no UTF-8, or too long.
    """
    if len(raw_path) > LONGEST:
        raise MalformedAddress("The address is too long.")
    if not _PLAIN.fullmatch(raw_path) or _HIDDEN.search(raw_path):
        raise MalformedAddress("The path holds something that a path here may not hold.")
    try:
        segments = tuple(_decoded(part) for part in raw_path[1:].split(b"/"))
    except UnicodeDecodeError:
        raise MalformedAddress("The path is not UTF-8.") from None
    if not {".", ".."}.isdisjoint(segments):
        raise MalformedAddress("The path holds a dot segment.")
    if _SLASH.search(raw_path) and not _SLASH_ALLOWED.fullmatch("/" + "/".join(segments)):
        raise MalformedAddress("The path holds an encoded slash.")
    return segments


def _decoded(part: bytes) -> str:
    """Decode a segment, but for its slashes: they would look like the end of it."""
    if b"%" not in part:
        return part.decode("ascii")
    return "%2F".join(unquote_to_bytes(piece).decode() for piece in _SLASH.split(part))


@dataclass(frozen=True, slots=True)
class Address:
    """What a path names.

    Attributes:
        is_api: whether it is below /api/, so that an upstream may have it.
        area: the segment after /api/, such as `products`; empty elsewhere.
        operation: None where the table has none for the method.
        known_methods: then the methods that the address does know.
    """

    is_api: bool = False
    area: str = ""
    operation: Operation | None = None
    known_methods: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Shape:
    """One path template and its operations by method."""

    pattern: re.Pattern[str]  # of the decoded path; each parameter is some text without a slash
    operations: dict[str, Operation] = field(default_factory=dict)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)))


class Directory:
    """The table of operations, ready to be searched; literal segments come before parameters."""

    def __init__(self, table: Iterable[Operation]) -> None:
        shapes: dict[str, _Shape] = {}
        for row in table:
            shape = shapes.setdefault(row.path, _Shape(_pattern(row.path)))
            shape.operations[row.method] = row
        literal_first = sorted(shapes, key=lambda path: ["{" in part for part in path.split("/")])
        self._shapes = [shapes[path] for path in literal_first]
        self.look_up = lru_cache(_REMEMBERED)(self._look_up)

    def _look_up(self, method: str, raw_path: bytes) -> Address:
        """What a path names; `look_up` remembers the last ones.

        Raises:
            MalformedAddress: as `segments_of`.
        """
        segments = segments_of(raw_path)
        found = self._find(method, "/" + "/".join(segments))
        area = segments[1] if segments[0] == "api" and len(segments) > 1 else ""
        if isinstance(found, Operation):
            return Address(segments[0] == "api", area, found)
        return Address(segments[0] == "api", area, None, found)

    def _find(self, method: str, path: str) -> Operation | frozenset[str]:
        wanted = "GET" if method == "HEAD" else method  # RFC 9110, section 9.3.2
        known: set[str] = set()
        for shape in self._shapes:
            if shape.pattern.fullmatch(path):
                if (operation := shape.operations.get(wanted)) is not None:
                    return operation
                known |= shape.operations.keys()
        return frozenset(known)
