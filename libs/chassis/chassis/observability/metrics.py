"""Request metrics (rate, errors, duration) by route template, on a registry of the app's own.

A registry for each app, not the global one: tests build many apps in one process. Labels come from
closed sets only, so the number of series does not grow with traffic.
"""

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


def new_registry() -> CollectorRegistry:
    """A registry that already has the process's own figures (memory, CPU, open files)."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def request_histogram(registry: CollectorRegistry) -> Histogram:
    """`http_request_duration_seconds` by method, route template and status code."""
    return Histogram(
        "http_request_duration_seconds",
        "Time from the request's first byte to the answer's last, in seconds",
        ["method", "route", "status"],
        buckets=BUCKETS,
        registry=registry,
    )


def pool_gauges(registry: CollectorRegistry) -> tuple[Gauge, Gauge]:
    """How many connections to the database are in use, and how many there may be."""
    return (
        Gauge("database_connections_in_use", "Connections that somebody has", registry=registry),
        Gauge("database_connections_limit", "Connections of the pool at most", registry=registry),
    )


def exposition(registry: CollectorRegistry, accept: str) -> Response:
    """All series, in the format that the scraper accepts; OpenMetrics shows trace ids as well."""
    encoder, media_type = choose_encoder(accept)
    return Response(encoder(registry), media_type=media_type)


def metrics_router(registry: CollectorRegistry) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/metrics", summary="Metrics in Prometheus' text format", response_class=Response)
    async def metrics(request: Request) -> Response:
        return exposition(registry, request.headers.get("accept", ""))

    return router
