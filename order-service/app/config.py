"""Settings of order-service. Each field is an environment variable of the same name."""

import logging
from typing import Literal

from pydantic import Field

from chassis.postgres.database import DatabaseSettings
from chassis.security.token_verifier import AuthSettings
from chassis.settings import KafkaSettings, ServiceSettings


class Settings(ServiceSettings, DatabaseSettings, KafkaSettings, AuthSettings):
    service_name: str = "order-service"
    database_url: str = "postgresql+asyncpg://postgres:postgres@127.0.0.1:5433/order_db"
    database_pool_timeout: float = Field(default=2.0, gt=0, description="seconds to wait for one")
    database_statement_timeout: float = Field(default=2.0, gt=0, description="seconds")
    auth_required: bool = Field(
        default=False,
        description="refuse calls without a token; true on every deployment beyond one machine",
    )
    inventory_service_url: str = Field(
        default="http://127.0.0.1:8003", description="several with commas between: round robin"
    )
    product_service_url: str = Field(
        default="http://127.0.0.1:8001", description="several with commas between: round robin"
    )

    price_check: Literal["known", "strict"] = Field(
        default="known",
        description="known: what only inventory has is sold at any price; strict: it is refused",
    )
    price_cache_ttl_seconds: float = Field(
        default=600.0,
        ge=0,
        le=600,
        description="how long a cached price is valid while product-service is unavailable",
    )
    price_cache_products: int = Field(
        default=10_000, gt=0, description="number of products in the price cache"
    )

    place_deadline: float = Field(
        default=3.0, gt=0, description="seconds for the whole of placing an order"
    )
    place_concurrency: int = Field(
        default=16,
        gt=0,
        description="orders placed concurrently; others wait within their deadline",
    )
    lease_seconds: float = Field(
        default=15.0, gt=0, description="how long a PENDING order belongs to its request"
    )
    recovery_interval: float = Field(
        default=1.0, gt=0, description="seconds between two runs of the recovery loop"
    )
    idempotency_hours: float = Field(default=24.0, gt=0, description="how long a key is kept")

    def warn_if_open(self) -> None:
        """Log a warning if calls without a token are served."""
        if not self.auth_required:
            logging.getLogger(__name__).warning(
                "AUTH_REQUIRED is false: calls without a token are served. Keep this port on one"
                " machine, or set AUTH_REQUIRED=true."
            )
