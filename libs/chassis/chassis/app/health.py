"""Liveness and readiness.

Liveness does no I/O: an unavailable database must not restart the process. Readiness is 503 only if
a critical dependency is down; other dependencies that are down show as DEGRADED, with 200.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

State = Literal["UP", "DEGRADED", "DOWN"]
PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Dependency:
    """A dependency of the service.

    Args:
        name: its key in the response.
        probe: returns if the dependency is available, else raises; cancelled after 2 s.
        critical: True only if the service cannot do anything without it.
    """

    name: str
    probe: Callable[[], Awaitable[None]]
    critical: bool = False


class Health(BaseModel):
    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"example": {"status": "UP", "service": "some-service"}},
    )

    status: Literal["UP"]
    service: str


class DependencyState(BaseModel):
    status: State
    milliseconds: float
    error: str | None = None


class Readiness(BaseModel):
    status: State
    service: str
    dependencies: dict[str, DependencyState]


async def _examine(dependency: Dependency) -> DependencyState:
    started = time.perf_counter()
    state: State = "UP"
    reason = None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await dependency.probe()
    except Exception as error:
        state = "DOWN" if dependency.critical else "DEGRADED"
        reason = type(error).__name__  # the message may hold addresses and credentials
    milliseconds = round((time.perf_counter() - started) * 1000, 1)
    return DependencyState(status=state, milliseconds=milliseconds, error=reason)


def health_router(
    service: str,
    dependencies: Sequence[Dependency] = (),
    facts: Mapping[str, bool | str] | None = None,
) -> APIRouter:
    """Return the routes `GET /health` and `GET /health/ready` of a service.

    Args:
        facts: further members of the response of `/health`.
    """
    alive = Health.model_validate({"status": "UP", "service": service, **(facts or {})})
    router = APIRouter(prefix="/health", tags=["operations"])

    @router.get("", summary="Alive?")
    async def health() -> Health:
        """200 as long as the process can answer at all; asks nobody else."""
        return alive

    @router.get(
        "/ready",
        summary="Ready for requests?",
        responses={503: {"model": Readiness, "description": "A critical dependency is down"}},
    )
    async def ready(response: Response) -> Readiness:
        """The state of each dependency; 503 only when a critical one is down."""
        states = await asyncio.gather(*(_examine(dependency) for dependency in dependencies))
        seen = {state.status for state in states}
        worst: State = "DOWN" if "DOWN" in seen else "DEGRADED" if "DEGRADED" in seen else "UP"
        response.status_code = 503 if worst == "DOWN" else 200
        names = (dependency.name for dependency in dependencies)
        table = dict(zip(names, states, strict=True))
        return Readiness(status=worst, service=service, dependencies=table)

    return router
