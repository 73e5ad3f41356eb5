"""The dashboards, as code: run it, and it writes the JSON that Grafana reads.

A dashboard is rows of panels, a panel a title, a unit and its queries. tests/conformance holds the
files to this program, and every query to metrics that the services really expose.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "provisioning" / "dashboards"
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
HEIGHT, WIDTH = 8, 24
RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """One graph, or one number where `kind` is stat.

    Attributes:
        queries: legend → PromQL; a legend may name labels as {{label}}.
        exemplars: show single requests on it, each a link to its trace.
    """

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"
    exemplars: bool = False
    note: str = ""


@dataclass(frozen=True)
class Dashboard:
    """`choice` is what can be chosen at its top: variable → where its values come from."""

    uid: str
    title: str
    rows: Sequence[Sequence[Panel]]
    choice: Mapping[str, str] = field(default_factory=dict)


def rate(metric: str, by: str = "", where: str = "") -> str:
    """How often a second, summed over replicas."""
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}{{{where}}}{RATE}))"


def increase(metric: str, by: str = "", where: str = "") -> str:
    """How often in the time that is shown."""
    group = f" by ({by})" if by else ""
    return f"sum{group} (increase({metric}{{{where}}}[$__range]))"


def quantile(q: float, histogram: str, by: str = "", where: str = "") -> str:
    group = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({group}) (rate({histogram}_bucket{{{where}}}{RATE})))"


PLACINGS = "order_placings_total"
REQUESTS = "http_request_duration_seconds"
JOB = 'job=~"$job"'
EDGE = 'job="api-gateway"'

SHOP = Dashboard(
    "shop-overview",
    "Shop overview",
    [
        [
            Panel("Orders", {"": increase(PLACINGS, where='outcome="confirmed"')}, kind="stat"),
            Panel("Value of orders", {"": increase("order_value_total")}, "currencyEUR", "stat"),
            Panel(
                "Refused for stock",
                {"": increase(PLACINGS, where='outcome="OutOfStock"')},
                kind="stat",
            ),
            Panel("Mails", {"": increase("mails_sent_total")}, kind="stat"),
        ],
        [
            Panel(
                "Orders a second",
                {"{{outcome}}": rate(PLACINGS, "outcome")},
                "reqps",
                note="Every request to place an order, by what became of it.",
            ),
            Panel("Value a second", {"value": rate("order_value_total")}, "currencyEUR"),
        ],
        [
            Panel(
                "From the event to its mail",
                {
                    "{{event_type}}, half": quantile(0.5, "mail_delay_seconds", "event_type"),
                    "{{event_type}}, 95 %": quantile(0.95, "mail_delay_seconds", "event_type"),
                },
                "s",
            ),
            Panel("Mails a second", {"{{event_type}}": rate("mails_sent_total", "event_type")}),
        ],
        [
            Panel(
                "Deferred mails that wait for their retry",
                {"{{topic}}": 'sum by (topic) (kafka_consumer_lag{topic=~"mail-retry-.*"})'},
            ),
            Panel(
                "Refusals of the mail server a second; 1 while it refuses all mails",
                {
                    "{{stage}} {{outcome}}": rate("mail_refusals_total", "stage, outcome"),
                    "refuses all": "max(mail_server_waiting)",
                },
            ),
        ],
        [
            Panel(
                "Stock: reductions a second",
                {"{{outcome}}": rate("stock_reductions_total", "outcome")},
            ),
            Panel(
                "Stock given back, and shelves running low",
                {
                    "given back: {{outcome}}": rate("stock_reversals_total", "outcome"),
                    "below the threshold": rate("stock_low_crossings_total"),
                },
            ),
        ],
        [
            Panel(
                "Orders completed or cancelled by recovery",
                {"{{action}}": rate("order_recoveries_total", "action")},
            ),
            Panel(
                "Assistant answers by source",
                {
                    "{{kind}} by {{by}}": rate("ai_answers_total", "kind, by"),
                    "follow-up by {{by}}": rate("follow_ups_total", "by"),
                },
            ),
        ],
    ],
)

SERVICES = Dashboard(
    "services",
    "Services: rate, errors, duration",
    [
        [
            Panel("Up", {"{{job}} {{instance}}": f"up{{{JOB}}}"}, kind="stat"),
            Panel(
                "Share of 5xx",
                {
                    "{{job}}": rate(f"{REQUESTS}_count", "job", f'{JOB}, status=~"5.."')
                    + " / "
                    + rate(f"{REQUESTS}_count", "job", JOB)
                },
                "percentunit",
            ),
        ],
        [
            Panel(
                "Requests a second, by route",
                {
                    "{{job}} {{method}} {{route}}": rate(
                        f"{REQUESTS}_count", "job, method, route", JOB
                    )
                },
                "reqps",
            ),
            Panel(
                "Answers a second, by status",
                {"{{job}} {{status}}": rate(f"{REQUESTS}_count", "job, status", JOB)},
                "reqps",
            ),
        ],
        [
            Panel(
                "Duration, 95 %, by route",
                {
                    "{{job}} {{method}} {{route}}": quantile(
                        0.95, REQUESTS, "job, method, route", JOB
                    )
                },
                "s",
                exemplars=True,
                note="A diamond is one request; it leads to its trace.",
            ),
            Panel(
                "Duration, half and 99 %",
                {
                    "{{job}}, half": quantile(0.5, REQUESTS, "job", JOB),
                    "{{job}}, 99 %": quantile(0.99, REQUESTS, "job", JOB),
                },
                "s",
            ),
        ],
        [
            Panel(
                "Calls to other services, 95 %",
                {
                    "{{job}} to {{target}}: {{outcome}}": quantile(
                        0.95, "upstream_call_seconds", "job, target, outcome", JOB
                    )
                },
                "s",
            ),
            Panel(
                "Circuits and retries",
                {
                    "{{job}} to {{target}} (0 closed, 1 half-open, 2 open)": (
                        f"max by (job, target) (circuit_state{{{JOB}}})"
                    ),
                    "{{job}} to {{target}}: retries": rate(
                        "upstream_retries_total", "job, target", JOB
                    ),
                    "{{job}} to {{target}}: refused": rate(
                        "circuit_refused_total", "job, target", JOB
                    ),
                },
            ),
        ],
        [
            Panel(
                "Memory",
                {"{{job}} {{instance}}": f"process_resident_memory_bytes{{{JOB}}}"},
                "bytes",
            ),
            Panel(
                "CPU (1 is a core)",
                {"{{job}} {{instance}}": f"rate(process_cpu_seconds_total{{{JOB}}}{RATE})"},
            ),
        ],
    ],
    {"job": "label_values(up, job)"},
)

KAFKA = Dashboard(
    "kafka-and-outbox",
    "Kafka and outbox",
    [
        [
            Panel(
                "Age of the oldest unpublished event",
                {"{{job}}": "max by (job) (outbox_oldest_seconds)"},
                "s",
            ),
            Panel(
                "Events not published yet",
                {
                    "{{job}}": "max by (job) (outbox_pending)",
                    "{{job}}, waiting for a person": "max by (job) (outbox_parked)",
                },
            ),
        ],
        [
            Panel("Published per second", {"{{job}}": rate("outbox_published_total", "job")}),
            Panel(
                "Outbox leader (1 = leads) and producer connections",
                {
                    "{{job}} {{instance}} leads": "outbox_leading",
                    "{{job}} {{instance}} connected": "kafka_producer_connected",
                },
            ),
        ],
        [
            Panel(
                "Records a second",
                {
                    "{{job}}: {{topic}}": rate("kafka_producer_sent_total", "job, topic"),
                    "{{job}}: {{topic}} failed": rate("kafka_producer_failed_total", "job, topic"),
                },
            ),
            Panel(
                "Messages that wait to be handled",
                {"{{job}}: {{topic}}": "sum by (job, topic) (kafka_consumer_lag)"},
            ),
        ],
        [
            Panel(
                "Handled a second",
                {
                    "{{job}}: {{topic}} {{outcome}}": rate(
                        "kafka_consumer_messages_total", "job, topic, outcome"
                    )
                },
            ),
            Panel(
                "Tries that failed, and waits for a dependency",
                {
                    "{{job}}: {{topic}} failed": rate(
                        "kafka_consumer_failures_total", "job, topic"
                    ),
                    "{{job}}: {{topic}} waits": rate("kafka_consumer_waits_total", "job, topic"),
                },
            ),
        ],
        [
            Panel(
                "Dead letters",
                {
                    "{{job}}: {{topic}}": increase(
                        "kafka_consumer_messages_total", "job, topic", 'outcome="dead_lettered"'
                    )
                },
                kind="stat",
            ),
            Panel(
                "Seconds since the last poll; 1 if halted",
                {
                    "{{job}} {{instance}}": "time() - kafka_consumer_last_poll_timestamp_seconds",
                    "{{job}} {{instance}} halted": "kafka_consumer_halted",
                },
                "s",
            ),
        ],
    ],
)

GATEWAY = Dashboard(
    "gateway",
    "Gateway",
    [
        [
            Panel(
                "Requests a second", {"": rate(f"{REQUESTS}_count", where=EDGE)}, "reqps", "stat"
            ),
            Panel(
                "Share of 5xx",
                {
                    "": rate(f"{REQUESTS}_count", where=f'{EDGE}, status=~"5.."')
                    + " / "
                    + rate(f"{REQUESTS}_count", where=EDGE)
                },
                "percentunit",
                "stat",
            ),
            Panel("Refused by the limit", {"": increase("rate_limited_total")}, kind="stat"),
            Panel("Tokens refused", {"": increase("tokens_refused_total")}, kind="stat"),
        ],
        [
            Panel(
                "Answers a second, by status",
                {"{{status}}": rate(f"{REQUESTS}_count", "status", EDGE)},
                "reqps",
            ),
            Panel(
                "Duration, 95 %, by route",
                {"{{method}} {{route}}": quantile(0.95, REQUESTS, "method, route", EDGE)},
                "s",
                exemplars=True,
            ),
        ],
        [
            Panel(
                "Refused a second",
                {
                    "limit of {{group}}": rate("rate_limited_total", "group"),
                    "token": rate("tokens_refused_total"),
                },
            ),
            Panel(
                "Requests that one gateway counted alone",
                {"{{instance}}": rate("rate_limit_counted_locally_total", "instance")},
                note="Above 0 only while the shared store of the limits is away.",
            ),
        ],
        [
            Panel(
                "Upstreams: duration, 95 %",
                {
                    "{{target}}: {{outcome}}": quantile(
                        0.95, "upstream_call_seconds", "target, outcome", EDGE
                    )
                },
                "s",
            ),
            Panel(
                "Upstreams: calls in hand, and circuits (2 is open)",
                {
                    "{{target}} in hand": f"sum by (target) (upstream_calls_in_hand{{{EDGE}}})",
                    "{{target}} circuit": f"max by (target) (circuit_state{{{EDGE}}})",
                },
            ),
        ],
    ],
)

ALL = (SHOP, SERVICES, KAFKA, GATEWAY)


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": PROMETHEUS,
            "expr": expr,
            "legendFormat": legend or "__auto",
            "exemplar": panel.exemplars,
        }
        for index, (legend, expr) in enumerate(panel.queries.items())
    ]
    return {
        "id": number,
        "title": panel.title,
        "description": panel.note,
        "type": panel.kind,
        "datasource": PROMETHEUS,
        "gridPos": dict(place),
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": targets,
    }


def _choice(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def rendered(dashboard: Dashboard) -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON."""
    panels: list[dict[str, Any]] = []
    for row, members in enumerate(dashboard.rows):
        width = WIDTH // len(members)
        for column, panel in enumerate(members):
            place = {"h": HEIGHT, "w": width, "x": column * width, "y": row * HEIGHT}
            panels.append(_panel(panel, len(panels) + 1, place))
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["shop"],
        "editable": False,
        "schemaVersion": 41,
        "time": {"from": "now-30m", "to": "now"},
        "refresh": "10s",
        "templating": {"list": [_choice(*item) for item in dashboard.choice.items()]},
        "panels": panels,
    }


def main() -> int:
    for dashboard in ALL:
        text = json.dumps(rendered(dashboard), indent=1) + "\n"
        (FOLDER / f"{dashboard.uid}.json").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
