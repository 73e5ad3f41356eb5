"""Settings of api-gateway; each field is an environment variable of the same name."""

import ipaddress
from typing import Annotated

from limits import parse
from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from chassis.security.token_verifier import AuthSettings
from chassis.settings import ServiceSettings


def _split(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(ServiceSettings, AuthSettings):
    service_name: str = "api-gateway"

    product_service_url: Listed = Field(
        default=("http://127.0.0.1:8001",),
        min_length=1,
        description="replicas, called in turn",
    )
    order_service_url: Listed = Field(default=("http://127.0.0.1:8002",), min_length=1)
    inventory_service_url: Listed = Field(default=("http://127.0.0.1:8003",), min_length=1)
    ai_service_url: Listed = Field(default=("http://127.0.0.1:8005",), min_length=1)

    upstream_timeout: float = Field(
        default=10.0, gt=0, description="seconds until a response begins, and between its parts"
    )
    upstream_timeout_ai: float = Field(default=30.0, gt=0, description="the same for ai-service")
    upstream_concurrency: int = Field(
        default=256, gt=0, description="concurrent calls to one upstream; above it 503"
    )
    circuit_failures: int = Field(
        default=5, gt=0, description="consecutive failures that open a circuit"
    )
    circuit_reset_seconds: float = Field(default=5.0, gt=0)

    client_body_seconds: float = Field(
        default=15.0, gt=0, description="seconds for a whole request body to arrive"
    )
    client_head_seconds: float = Field(
        default=10.0, gt=0, description="seconds for a request head to arrive"
    )
    client_stall_seconds: float = Field(
        default=30.0, gt=0, description="seconds for a client to read some 50 KB of a response"
    )
    max_head_bytes: int = Field(
        default=32_768, gt=0, description="bytes of request line and headers"
    )

    rate_limit_default: str = Field(default="60/minute", description="per caller and route group")
    rate_limit_ai: str = "15/minute"
    rate_limit_storage_uri: str = Field(
        default="memory://", description="redis://host:6379 for several gateways"
    )
    rate_limit_storage_timeout: float = Field(
        default=0.05, gt=0, description="seconds; after it this gateway counts in its memory"
    )

    trusted_proxies: Listed = Field(
        default=(), description="addresses or networks whose X-Forwarded-For is used"
    )
    cors_origins: Listed = Field(default=(), description="origins of the storefront")
    mailbox_url: str = Field(default="", description="linked on the start page; empty: no link")
    kafka_ui_url: str = Field(default="", description="linked on the start page; empty: no link")
    traces_url: str = Field(default="", description="linked on the start page; empty: no link")
    metrics_token: str = Field(
        default="", description="bearer token for /metrics; empty: /metrics is 404"
    )

    @field_validator("rate_limit_default", "rate_limit_ai")
    @classmethod
    def _is_rate_limit(cls, value: str) -> str:
        if parse(value).amount < 1:
            raise ValueError("a limit allows at least one request")
        return value

    @field_validator("rate_limit_storage_uri")
    @classmethod
    def _is_storage_uri(cls, value: str) -> str:
        if not value.startswith(("memory://", "redis://", "rediss://")):
            raise ValueError("must start with memory://, redis:// or rediss://")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("mailbox_url", "kafka_ui_url", "traces_url")
    @classmethod
    def _is_link(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value

    @field_validator(
        "product_service_url", "order_service_url", "inventory_service_url", "ai_service_url"
    )
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"{url!r} must start with http:// or https://")
        return tuple(url.rstrip("/") for url in value)
