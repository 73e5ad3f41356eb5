"""What several test files do with the app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """The app, started, behind a client that sees a 500 instead of the exception."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://product") as client,
    ):
        yield client


def assert_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    """An RFC 9457 document with the status of its answer, without a stack trace."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "instance", "trace_id"} <= problem.keys()
    assert problem["status"] == status
    assert problem["type"] == "about:blank" or problem["type"].startswith("/problems/")
    assert problem["trace_id"] == response.headers["x-trace-id"]
    assert isinstance(problem["detail"], list if status == 422 else str)
    assert "Traceback" not in response.text
    return problem
