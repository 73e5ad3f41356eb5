"""The services of the platform: ports, dependencies and settings of each.

A service is part of the fleet if its folder has an ``app/main.py``. Consumers come first, because
joining a consumer group takes seconds. ``launcher/composition.py`` fills the values in braces with
the addresses of the servers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Service:
    """One service: folder name, port, dependencies at start, settings."""

    name: str
    port_variable: str
    default_port: int
    needs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    """Settings that the user cannot override: addresses."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Settings that the user can override."""
    migrations: bool = False
    own_server: bool = False
    """True if ``python -m app`` starts the service with its own uvicorn configuration."""
    api: str = ""
    """Path prefix of the API; empty for a service without an API."""
    port_step: int = 100
    """Difference between the ports of two replicas."""
    folder: str = ""
    """Folder in the checkout. All replicas of a service share it."""

    def replica(self, number: int) -> Service:
        """Return replica ``number``. The first has the service's own name and port."""
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
"""Not a start dependency: a service fetches the keys when the first token arrives."""

SERVICES = (
    Service(
        "notification-service",
        "NOTIFICATION_SERVICE_PORT",
        8004,
        needs=("kafka",),  # not the mailbox: the service retries SMTP by itself
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
    """Return the services that exist in this checkout."""
    return [service for service in SERVICES if (root / service.name / "app" / "main.py").is_file()]
