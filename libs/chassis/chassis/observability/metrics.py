"""Prometheus metrics: the registry of an app, request durations, and the endpoint `/metrics`.

Each app has its own registry, because tests build several apps in one process. Labels come from
closed sets, so that the number of series does not grow with traffic.
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
    """Return a registry with the metrics of the process (memory, CPU, open files)."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def request_histogram(registry: CollectorRegistry) -> Histogram:
    """Return `http_request_duration_seconds` by method, route template and status code."""
    return Histogram(
        "http_request_duration_seconds",
        "Time from the start of the request to the end of the response, in seconds",
        ["method", "route", "status"],
        buckets=BUCKETS,
        registry=registry,
    )


def pool_gauges(registry: CollectorRegistry) -> tuple[Gauge, Gauge]:
    """Return the gauges of a connection pool: connections in use, and their limit."""
    return (
        Gauge("database_connections_in_use", "Connections in use", registry=registry),
        Gauge("database_connections_limit", "Size limit of the pool", registry=registry),
    )


def exposition(registry: CollectorRegistry, accept: str) -> Response:
    """Return all series in the format that the scraper accepts; OpenMetrics has exemplars."""
    encoder, media_type = choose_encoder(accept)
    return Response(encoder(registry), media_type=media_type)


def metrics_router(registry: CollectorRegistry) -> APIRouter:
    router = APIRouter(tags=["operations"])

    @router.get("/metrics", summary="Metrics in Prometheus' text format", response_class=Response)
    async def metrics(request: Request) -> Response:
        return exposition(registry, request.headers.get("accept", ""))

    return router
