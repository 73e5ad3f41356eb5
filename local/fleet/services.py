"""The services of the platform: the one table that everything local reads.

A service takes part as soon as its folder holds an ``app/main.py``. The order is that of the start:
joining a Kafka group takes seconds in which the others can start. Values in braces are filled in
from the addresses of the servers, embedded or real (``composition.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Service:
    """One service: its folder's name, its port, what it needs to start, and its settings."""

    name: str
    port_variable: str
    default_port: int
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    """Always set so: addresses."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Set so unless the user has set it."""
    migrations: bool = False
    own_server: bool = False
    """Started by ``python -m app``, which knows how uvicorn must serve it."""
    api: str = ""
    """The path that its API begins with; empty for a service without one."""
    port_step: int = 100
    """How far a further replica's port lies from the one before."""
    folder: str = ""
    """Where it lies in the checkout; the name unless it is a further replica."""

    def replica(self, number: int) -> Service:
        """The service's process of this number; the first has the service's own name and port."""
        if number == 1:
            return replace(self, folder=self.name)
        return replace(
            self,
            name=f"{self.name}-{number}",
            port_variable=f"{self.port_variable.removesuffix('_PORT')}_{number}_PORT",
            default_port=self.default_port + (number - 1) * self.port_step,
            folder=self.name,
        )


_BROKER = {"KAFKA_BOOTSTRAP_SERVERS": "{kafka}"}
_IDENTITY = {"OIDC_ISSUER": "{oidc_issuer}", "OIDC_JWKS_URL": "{oidc_jwks_url}"}
"""No need of anybody's: the keys are fetched when the first token comes."""

SERVICES = (
    Service(
        "notification-service",
        "NOTIFICATION_SERVICE_PORT",
        8004,
        needs=("kafka",),  # not the mailbox: it waits for SMTP by itself, and mails come last
        env={"SMTP_HOST": "{smtp_host}", "SMTP_PORT": "{smtp_port}", **_BROKER},
        defaults={
            "SMTP_STARTTLS": "false",
            "MAIL_FROM": "Demo Shop <shop@example.com>",
            "ALERT_EMAIL": "stock@example.com",
        },
    ),
    Service(
        "product-service",
        "PRODUCT_SERVICE_PORT",
        8001,
        needs=("mongo",),
        env={"MONGODB_URL": "{mongo}"},
        defaults={"MONGODB_DATABASE": "product_db"},
        api="/api/products",
    ),
    Service(
        "inventory-service",
        "INVENTORY_SERVICE_PORT",
        8003,
        needs=("postgres", "kafka"),
        env={"DATABASE_URL": "{inventory_db}", **_BROKER},
        migrations=True,
        api="/api/inventory",
    ),
    Service(
        "order-service",
        "ORDER_SERVICE_PORT",
        8002,
        needs=("postgres", "kafka"),
        env={"DATABASE_URL": "{order_db}", **_BROKER},
        defaults={
            "INVENTORY_SERVICE_URL": "{inventory_service}",
            "PRODUCT_SERVICE_URL": "{product_service}",
            **_IDENTITY,
        },
        migrations=True,
        api="/api/orders",
    ),
    Service(
        "ai-service",
        "AI_SERVICE_PORT",
        8005,
        needs=("kafka",),
        env=_BROKER,
        defaults={"PRODUCT_SERVICE_URL": "{product_service}"},
        api="/api/ai",
    ),
    Service(
        "api-gateway",
        "GATEWAY_PORT",
        9000,
        own_server=True,
        port_step=1,
        defaults={
            "PRODUCT_SERVICE_URL": "{product_service}",
            "ORDER_SERVICE_URL": "{order_service}",
            "INVENTORY_SERVICE_URL": "{inventory_service}",
            "AI_SERVICE_URL": "{ai_service}",
            "METRICS_TOKEN": "local-metrics",
            "MAILBOX_URL": "{mailbox_url}",
            "KAFKA_UI_URL": "{kafka_ui_url}",
            "TRACES_URL": "{traces_url}",
            **_IDENTITY,
        },
    ),
)


def present(root: Path) -> list[Service]:
    """The services that exist in this checkout."""
    return [service for service in SERVICES if (root / service.name / "app" / "main.py").is_file()]
