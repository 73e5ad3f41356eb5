"""CORS for the storefront's origins, with refusals as problem documents."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from app.headers import FORWARDED, RETURNED
from chassis.problems import problem_response

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_REQUEST_HEADERS = (
    *FORWARDED,
    "Authorization",
    "X-Request-ID",
    "baggage",
    "traceparent",
    "tracestate",
)
_RESPONSE_HEADERS = (*RETURNED, "RateLimit", "RateLimit-Policy", "X-Request-ID", "X-Trace-Id")


class ProblemCORSMiddleware(CORSMiddleware):
    """Starlette's middleware; a refused preflight is a problem document instead of plain text."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_RESPONSE_HEADERS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        detail = bytes(response.body).decode()
        return problem_response(400, f"{detail}.", instance="", headers={"Vary": "Origin"})
