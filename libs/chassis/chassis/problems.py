"""Errors with a status, rendered in one place as `application/problem+json` (RFC 9457).

A service derives its errors from `Problem` in its errors.py and raises them in any layer; a route
declares them with `responses=problem_responses(OutOfStock, OrderNotFound)`.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Scope

from chassis.observability.tracing import trace_id

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 20
"""Validation errors in one 422."""
MAX_NAME = 100
MAX_MESSAGE = 500
_RENAMED = {413: "Content Too Large", 422: "Unprocessable Content"}
"""RFC 9110 names. Python has them from 3.13 on; a response does not depend on its version."""


def phrase_of(status: int) -> str:
    """Return the reason phrase of a status, the same with every version of Python."""
    return _RENAMED.get(status, HTTPStatus(status).phrase)


class Problem(Exception):
    """An error that the caller may see.

    Args:
        detail: a sentence for the caller, without internals.
        headers: further response headers, such as Retry-After.
        extensions: further members of the problem document, such as `current_price`.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "about:blank"
    title: ClassVar[str | None] = None
    example: ClassVar[str] = "The cause, in one sentence."
    example_members: ClassVar[Mapping[str, object]] = {}  # as `extensions`, for the document

    def __init__(
        self, detail: str, *, headers: Mapping[str, str] | None = None, **extensions: object
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.extensions = extensions

    @classmethod
    def heading(cls) -> str:
        return cls.title or phrase_of(cls.status)


class ServiceUnavailable(Problem):
    """A dependency of the service is unavailable; the same request may succeed later."""

    status = 503
    example = "The service is busy or starting; try again shortly."

    def __init__(self, detail: str, *, retry_after: float = 1.0, **extensions: object) -> None:
        seconds = max(1, round(retry_after))
        super().__init__(detail, headers={"Retry-After": str(seconds)}, **extensions)


class UnsupportedMediaType(Problem):
    status = 415
    example = "The body must be JSON: send it with Content-Type: application/json."


class ValidationProblem(Problem):
    """For the OpenAPI document only: FastAPI raises validation errors itself."""

    status = 422
    example = "An array of {loc, msg, type}, one for each field that was refused."


def problem_response(
    status: int,
    detail: object,
    *,
    instance: str,
    type_: str = "about:blank",
    title: str | None = None,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, object] | None = None,
) -> Response:
    """Render one problem document, as ASCII-escaped JSON, which can hold any text."""
    document = {
        "type": type_,
        "title": title or phrase_of(status),
        "status": status,
        "detail": detail,
        "instance": instance,
        "trace_id": trace_id(),
        **(extensions or {}),
    }
    body = json.dumps(document, default=float).encode("ascii")
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def instance_of(scope: Scope) -> str:
    """Return a problem's `instance`: the path as it was sent, up to 2,000 characters."""
    raw = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    return str(raw.decode("ascii", "replace"))[:2_000]


def render(error: Problem, instance: str) -> Response:
    """Return the response for an error; for middleware, which runs outside the error handlers."""
    return problem_response(
        error.status,
        error.detail,
        instance=instance,
        type_=error.type,
        title=error.heading(),
        headers=error.headers,
        extensions=error.extensions,
    )


def _release_frames(error: BaseException) -> None:
    """Drop the tracebacks of a handled error: their frames hold the request's body.

    FastAPI's exit stacks leave error and frames in a reference cycle, and the garbage collector
    runs rarely (gc_tuning.py): hundreds of refused bodies would wait for it.
    """
    chain: BaseException | None = error
    while chain is not None:
        chain.__traceback__ = None
        chain = chain.__context__


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  registered for this class alone
    _release_frames(error)
    return render(error, instance_of(request.scope))


def _renders(problem: type[Problem]) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def on_error(request: Request, error: Exception) -> Response:
        _release_frames(error)
        return render(problem(problem.example), instance_of(request.scope))

    return on_error


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    _release_frames(error)
    details = {
        404: "There is nothing at this address.",
        405: "This address does not know that method.",
    }
    phrase = HTTPStatus(error.status_code).phrase
    detail = details.get(error.status_code) if error.detail == phrase else None
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = _allowed_methods(request, headers.get("Allow", ""))
    return problem_response(
        error.status_code,
        detail or error.detail,
        instance=instance_of(request.scope),
        headers=headers,
    )


def _allowed_methods(request: Request, of_one_route: str) -> str:
    """Return the methods of every route at this path; the framework names those of one route."""
    methods = set(filter(None, of_one_route.split(", ")))
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(with_head(methods)))


def with_head(methods: Collection[str]) -> set[str]:
    """Add HEAD where there is GET."""
    return {*methods, "HEAD"} if "GET" in methods else set(methods)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    # FastAPI's own handler echoes the input: personal data, and a crash on NaN.
    assert isinstance(error, RequestValidationError)  # noqa: S101
    _release_frames(error)
    errors = error.errors()
    detail = [_bounded(item) for item in errors[:MAX_ERRORS]]
    if (rest := len(errors) - MAX_ERRORS) > 0:
        detail.append({"loc": ["body"], "msg": f"{rest} more errors.", "type": "more_errors"})
    return problem_response(422, detail, instance=instance_of(request.scope))


def _bounded(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the public members of a validation error; a name in `loc` may be the client's."""
    loc = [part if isinstance(part, int) else str(part)[:MAX_NAME] for part in error["loc"]]
    return {"loc": loc, "msg": error["msg"][:MAX_MESSAGE], "type": error["type"]}


def internal_error(instance: str) -> Response:
    """Return the response to an unexpected exception, without its details."""
    return problem_response(
        500, "Something went wrong on our side; the log has it by trace_id.", instance=instance
    )


def install_problem_handlers(
    app: FastAPI, problems: Mapping[type[Exception], type[Problem]] | None = None
) -> None:
    """Render every error of `app` as a problem, and describe it in the OpenAPI document.

    Args:
        problems: errors of other layers, and the problem that each of them is rendered as.
    """
    for error, problem in (problems or {}).items():
        app.add_exception_handler(error, _renders(problem))
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]


def problem_responses(*errors: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` argument of a route: its problems by status, each with an example."""
    by_status: dict[int | str, list[type[Problem]]] = {}
    declared: list[type[Problem]] = [*errors, ValidationProblem]
    for error in declared:
        by_status.setdefault(error.status, []).append(error)
    return {status: _describe(group) for status, group in by_status.items()}


def _describe(errors: Sequence[type[Problem]]) -> dict[str, Any]:
    examples = {
        error.__name__: {
            "value": {
                "type": error.type,
                "title": error.heading(),
                "status": error.status,
                "detail": error.example,
                "instance": "/api/...",
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
                **error.example_members,
            }
        }
        for error in errors
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    description = " or ".join(dict.fromkeys(error.heading() for error in errors))
    return {
        "description": description,
        "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}},
    }


PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457. Some types carry further members.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "trace_id"],
    "properties": {
        "type": {"type": "string", "description": "/problems/<name> or about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"description": "a sentence; on 422 an array of {loc, msg, type}"},
        "instance": {"type": "string", "description": "the path that was called"},
        "trace_id": {"type": ["string", "null"], "description": "finds the request in the logs"},
    },
}


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        _declare_media_types(document["paths"])
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["Problem"] = PROBLEM_SCHEMA
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        app.openapi_schema = document
    return app.openapi_schema


def _declare_media_types(paths: Mapping[str, Mapping[str, Any]]) -> None:
    """Add the 415 of `chassis.app.content_type` to each operation with a body."""
    for item in paths.values():
        for operation in item.values():
            if "requestBody" in operation:
                operation["responses"].setdefault("415", _describe([UnsupportedMediaType]))
