"""Refuse a body whose headers say that it is not JSON (415, RFC 9110, section 15.5.16)."""

from collections.abc import Iterable
from email.message import Message

from chassis.problems import UnsupportedMediaType

_PLAIN_JSON = b"application/json"
_READ_AS_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


def require_json(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Return if the request has no body, or one that its headers describe as JSON in UTF-8.

    Args:
        headers: the raw ones of the ASGI scope, names in lower case.

    Raises:
        UnsupportedMediaType: the body is compressed, of another media type or another charset.
    """
    media_types, has_body = _media_types(headers)
    if has_body and media_types != [_PLAIN_JSON]:
        _require_json_type(media_types[0].decode("latin-1") if media_types else "")


def media_type_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the media type of a text in UTF-8, in lower case; an empty text if none is given.

    Raises:
        UnsupportedMediaType: the body is compressed, or of another charset.
    """
    media_types, _ = _media_types(headers)
    media_type = Message()
    media_type["Content-Type"] = media_types[0].decode("latin-1") if media_types else ""
    if media_type.get_content_charset("utf-8") not in _READ_AS_UTF_8:
        raise UnsupportedMediaType("The body must be in UTF-8.")
    return media_type.get_content_type() if media_types else ""


def _media_types(headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[bytes], bool]:
    """Return the media types of an uncompressed body, and whether there is a body."""
    media_types: list[bytes] = []
    encodings: list[bytes] = []
    has_body = False
    for name, value in headers:
        if name == b"content-type":
            media_types.append(value)
        elif name == b"content-encoding":
            encodings += value.split(b",")
        elif (name == b"content-length" and value != b"0") or name == b"transfer-encoding":
            has_body = True
    if has_body and any(each.strip().lower() not in (b"", b"identity") for each in encodings):
        raise UnsupportedMediaType(
            "The body must not be compressed: send it without Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )
    return media_types, has_body


def _require_json_type(value: str) -> None:
    media_type = Message()  # parses as FastAPI does
    media_type["Content-Type"] = value
    subtype = media_type.get_content_subtype()
    is_json = subtype == "json" or subtype.endswith("+json")
    if media_type.get_content_maintype() != "application" or not is_json:
        raise UnsupportedMediaType(UnsupportedMediaType.example, headers=_ACCEPT_JSON)
    if media_type.get_content_charset("utf-8") not in _READ_AS_UTF_8:
        raise UnsupportedMediaType(
            "The body must be in UTF-8, as all JSON (RFC 8259).", headers=_ACCEPT_JSON
        )


_ACCEPT_JSON = {"Accept": _PLAIN_JSON.decode()}
