"""Shared helpers of the tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from fastapi import FastAPI


async def until(
    true: Callable[[], Awaitable[bool]], seconds: float = 15.0, every: float = 0.05
) -> None:
    """Poll a condition until it is true or the time is up."""
    end = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < end, f"condition not met after {seconds} s"
        await asyncio.sleep(every)


async def indexed(client: httpx2.AsyncClient) -> None:
    """Wait for the indexes. The embedded server sometimes hangs if the first product is stored
    while the indexes are created, because both create the collection."""

    async def is_up() -> bool:
        return bool((await client.get("/health/ready")).json()["status"] == "UP")

    await until(is_up)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Run the app. The client receives 500 instead of the exception."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://product") as client,
    ):
        yield client


def assert_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    """Check that the response is an RFC 9457 document with this status and no stack trace."""
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
