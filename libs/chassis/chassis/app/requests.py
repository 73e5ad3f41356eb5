"""How requests are read: exact JSON numbers, the Idempotency-Key header, page cursors."""

import base64
import binascii
import json
import re
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Annotated, Any, NoReturn
from urllib.parse import urlencode

from fastapi import Depends, Header, HTTPException, Query, Request, Response
from fastapi.routing import APIRoute

from chassis.app.body_limits import announced_length, has_too_many_tokens, limit_body, too_large
from chassis.app.content_type import require_json
from chassis.problems import Problem

MAX_BODY = "x-max-body-bytes"
"""The extension member of an operation in the OpenAPI document."""

DEFAULT_MAX_BODY_BYTES = 16_384


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _ExactRequest(Request):
    async def json(self) -> Any:
        """The body with numbers as Decimal, so that money is never rounded on its way in."""
        if not hasattr(self, "_exact"):
            body = await self.body()
            if has_too_many_tokens(body):
                message = "The body has more values than any request here needs."
                error = {"loc": ["body"], "msg": message, "type": "too_many_values"}
                raise HTTPException(422, [error])
            try:
                # UTF-8 only, as RFC 8259 demands; the count above is wrong in other encodings.
                self._exact = json.loads(
                    body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_refuse_constant
                )
            except (ValueError, RecursionError, ArithmeticError) as error:
                # NaN, 5,000-digit integers, a hundred thousand brackets, bytes that are not UTF-8
                raise json.JSONDecodeError("not JSON", "", getattr(error, "pos", 0)) from None
        return self._exact


class ExactJsonRoute(APIRoute):
    """`APIRouter(route_class=ExactJsonRoute)`: every route with a JSON body.

    Its body has at most 16,384 bytes, unless `openapi_extra=max_body(...)` says more.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        has_body = self.body_field is not None
        limit: int = (self.openapi_extra or {}).get(MAX_BODY, DEFAULT_MAX_BODY_BYTES)

        async def exact(request: Request) -> Response:
            if has_body:
                require_json(request.scope["headers"])
            announced = announced_length(request.scope)
            if announced is not None and announced > limit:
                raise HTTPException(413, too_large(limit))
            return await handle(_ExactRequest(request.scope, limit_body(request.receive, limit)))

        return exact


def max_body(size: int) -> dict[str, int]:
    """Return the `openapi_extra` of a route whose body may have up to `size` bytes.

    FastAPI's own `max_body_size` answers in plain text, not with a problem document.
    """
    return {MAX_BODY: size}


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


# (An async dependency, though it awaits nothing: FastAPI runs a plain one in a thread.)
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
"""The request's Idempotency-Key, or None; a malformed one is a 400."""

PageLimit = Annotated[int, Query(alias="limit", ge=1, le=100, description="rows on one page")]


class InvalidCursor(Problem):
    status = 400
    type = "/problems/invalid-cursor"
    title = "Invalid cursor"
    example = "This cursor was not made by this service; begin without one."


def encode_cursor(*parts: str) -> str:
    """An opaque text for the place where the next page begins."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> list[str]:
    """The `length` parts that `encode_cursor` was given; raises InvalidCursor for all else."""
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
    """Name the next page in a `Link` header (RFC 8288), with this page's other parameters."""
    pairs = [(k, v) for k, v in request.query_params.multi_items() if k != "cursor"]
    query = urlencode([*pairs, ("cursor", cursor)])
    path = request.scope["raw_path"].decode("ascii")
    response.headers["Link"] = f'<{path}?{query}>; rel="next"'
