"""JSON request bodies: exact numbers, limits, and the media type."""

import json
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, NoReturn

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from chassis.app.body_limits import announced_length, has_too_many_tokens, limit_body, too_large
from chassis.app.content_type import require_json

MAX_BODY = "x-max-body-bytes"
"""The extension member of an operation in the OpenAPI document."""

DEFAULT_MAX_BODY_BYTES = 16_384


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class _ExactRequest(Request):
    async def json(self) -> Any:
        """Return the body with fractions as Decimal, so that no amount of money is rounded."""
        if not hasattr(self, "_exact"):
            body = await self.body()
            if has_too_many_tokens(body):
                message = "The body has more values than any request here needs."
                error = {"loc": ["body"], "msg": message, "type": "too_many_values"}
                raise HTTPException(422, [error])
            try:
                # UTF-8 only (RFC 8259): the tokens of another encoding are counted wrongly.
                self._exact = json.loads(
                    body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_refuse_constant
                )
            except (ValueError, RecursionError, ArithmeticError) as error:
                # NaN, integers of 5,000 digits, 100,000 brackets, bytes that are not UTF-8
                raise json.JSONDecodeError("not JSON", "", getattr(error, "pos", 0)) from None
        return self._exact


class ExactJsonRoute(APIRoute):
    """A route whose JSON body is read exactly: `APIRouter(route_class=ExactJsonRoute)`.

    A body has at most 16,384 bytes, unless `openapi_extra=max_body(...)` allows more.
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
