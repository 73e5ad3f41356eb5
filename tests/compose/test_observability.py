"""Prometheus scrapes every service and evaluates the alerts, and exemplars refer to traces."""

import re
import time
from typing import Any

from fleet.topics import TOPICS
from tests.compose_stack import ComposeStack
from tests.e2e.test_one_trace import PLACED, Customer, path_to, whole_trace
from tests.fleet_under_test import ROOT, SERVICES, Shop, until


async def prometheus(shop: Shop, path: str, **parameters: str | float) -> Any:
    """Return the result of a Prometheus API request."""
    url = f"{shop.fleet.url('prometheus')}/api/v1/{path}"
    answer = (await shop.http.get(url, params=parameters)).raise_for_status().json()
    assert answer["status"] == "success"
    return answer["data"]


async def test_prometheus_scrapes_all_six_services(shop: Shop) -> None:
    """Including the gateway, whose metrics need a token."""
    seen: dict[str, set[str]] = {}

    async def all_up() -> bool:
        seen.clear()
        for target in (await prometheus(shop, "targets"))["activeTargets"]:
            status_text = f"{target['health']} {target['lastError']}".strip()
            seen.setdefault(target["labels"]["job"], set()).add(status_text)
        return seen == {service: {"up"} for service in SERVICES}

    try:
        await until(all_up, 60, "every target is up")  # two DNS lookups and two scrapes
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen}") from error


async def test_prometheus_evaluates_every_alert_of_the_file(shop: Shop) -> None:
    alerts = (ROOT / "docker/prometheus/alerts.yml").read_text()
    written = re.findall(r"^ *- alert: (\w+)$", alerts, re.MULTILINE)
    assert len(written) > 15

    async def all_well() -> bool:
        groups = (await prometheus(shop, "rules"))["groups"]
        rules = [(rule["name"], rule["health"]) for group in groups for rule in group["rules"]]
        assert sorted(name for name, _ in rules) == sorted(written)
        return {health for _, health in rules} == {"ok"}

    await until(all_well, 60, "every rule has been evaluated")


async def test_exemplar_of_gateway_duration_refers_to_trace_in_tempo(
    fleet: ComposeStack, shop: Shop
) -> None:
    began = time.time() - 1
    placed = await Customer(shop).order(await shop.stock(100))
    trace_id = placed.headers["x-trace-id"]
    requested = 'http_request_duration_seconds_bucket{job="api-gateway",route="/api/orders"}'
    found: set[str] = set()

    async def scraped() -> bool:
        between = {"start": began, "end": time.time() + 1}
        for series in await prometheus(shop, "query_exemplars", query=requested, **between):
            found.update(exemplar["labels"]["trace_id"] for exemplar in series["exemplars"])
        return trace_id in found

    await until(scraped, 30, f"Prometheus has an exemplar with {trace_id}")
    trace = await whole_trace(fleet, trace_id)
    assert PLACED in [path_to(trace, span) for span in trace.spans.values()]


async def test_kafka_ui_and_broker_list_topics(fleet: ComposeStack, shop: Shop) -> None:
    clusters = (await shop.http.get(f"{fleet.url('kafka-ui')}/api/clusters")).json()
    assert [(cluster["name"], cluster["status"]) for cluster in clusters] == [("shop", "online")]
    listing = ["kafka-topics", "--list", "--bootstrap-server", fleet.kafka]
    listed = fleet.compose("exec", "--no-TTY", "kafka", *listing).split()
    assert set(TOPICS) <= set(listed)
