"""Ids in paths, and page cursors: any visible characters, a slash too, and 400 for what is none.

Servers decode a path before it is routed, and then `a%2Fcheck` cannot be told from `a/check`, nor
bytes that are no text from a question mark. So routing here sees the path as it was sent, and each
id is decoded by itself.
"""

from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import Depends, Path, Query
from pydantic import AfterValidator, TypeAdapter, ValidationError
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import InvalidProductId, MissingIdempotencyKey
from app.schemas.inventory import ProductId
from chassis.app.idempotency import IdempotencyKey, InvalidIdempotencyKey
from chassis.app.pagination import InvalidCursor, decode_cursor, encode_cursor

_PRODUCT_ID: TypeAdapter[str] = TypeAdapter(ProductId)
_KEY_LENGTH = 255
_CURSOR = "inventory"


class EncodedPaths:
    """Middleware: routes match the path as it was sent, percent signs and all."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            scope["path"] = scope["raw_path"].decode("latin-1")
        await self._app(scope, receive, send)


def _parse_product_id(text: str) -> str:
    try:
        return _PRODUCT_ID.validate_python(text)
    except ValidationError:
        raise InvalidProductId from None


def _decoded(encoded: str) -> str:
    try:
        return unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeDecodeError:
        return ""  # bytes that are no text: no id of any kind


def _product_id(encoded: str) -> str:
    return _parse_product_id(_decoded(encoded))


PathProductId = Annotated[
    str,
    Path(
        description="Any 1 to 100 visible characters, percent-encoded.",
        examples=["6568f0a1c2d3e4f5a6b7c8d9"],
        json_schema_extra={"minLength": 1, "maxLength": 100},
    ),
    AfterValidator(_product_id),
]
"""An `InvalidProductId` goes through pydantic as it is: it is no ValueError."""


async def _before_the_key(product_id: PathProductId) -> str:
    return product_id


async def _movement_key(
    key: Annotated[
        str,
        Path(
            description="The Idempotency-Key of the reduction: 1 to 255 visible ASCII characters, "
            "percent-encoded.",
            examples=["2f1c7b1e-6a53-4c1e-9a57-0d5f6f3d1c11"],
            json_schema_extra={"minLength": 1, "maxLength": _KEY_LENGTH},
        ),
    ],
) -> str:
    decoded = _decoded(key)
    if not 1 <= len(decoded) <= _KEY_LENGTH or not all("!" <= c <= "~" for c in decoded):
        raise InvalidIdempotencyKey(InvalidIdempotencyKey.example)
    return decoded


async def _required_key(key: IdempotencyKey) -> str:
    if key is None:
        raise MissingIdempotencyKey
    return key


def next_cursor(product_id: str) -> str:
    """The cursor of the page that begins after this product."""
    return encode_cursor(_CURSOR, product_id)


async def _page_start(
    cursor: Annotated[
        str | None, Query(description="from the `Link` header of the page before", max_length=1_000)
    ] = None,
) -> str | None:
    if cursor is None:
        return None
    kind, product_id = decode_cursor(cursor, 2)
    try:
        position = _parse_product_id(product_id)
    except InvalidProductId:
        raise InvalidCursor(InvalidCursor.example) from None
    if kind != _CURSOR:
        raise InvalidCursor(InvalidCursor.example)
    return position


# FastAPI resolves dependencies before a call's own parameters: where the key is one, so is the id.
KeyedProductId = Annotated[str, Depends(_before_the_key)]
PathMovementKey = Annotated[str, Depends(_movement_key)]
RequiredKey = Annotated[str, Depends(_required_key)]
PageStart = Annotated[str | None, Depends(_page_start)]
"""The product id after which the page begins, or None for the first page."""
