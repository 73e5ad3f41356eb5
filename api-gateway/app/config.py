"""api-gateway's settings; each field is an environment variable of its name."""

import ipaddress
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from app.rate_limit import RateLimit
from chassis.security.token_verifier import AuthSettings
from chassis.settings import ServiceSettings


def _split(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(ServiceSettings, AuthSettings):
    service_name: str = "api-gateway"

    product_service_url: Listed = Field(
        default=("http://127.0.0.1:8001",), min_length=1, description="several: round robin"
    )
    order_service_url: Listed = Field(default=("http://127.0.0.1:8002",), min_length=1)
    inventory_service_url: Listed = Field(default=("http://127.0.0.1:8003",), min_length=1)
    ai_service_url: Listed = Field(default=("http://127.0.0.1:8005",), min_length=1)

    upstream_timeout: float = Field(
        default=10.0, gt=0, description="seconds until the answer begins, and between its parts"
    )
    upstream_timeout_ai: float = Field(default=30.0, gt=0, description="the same, for a model")
    upstream_concurrency: int = Field(
        default=256, gt=0, description="calls to one upstream at a time; then 503"
    )
    circuit_failures: int = Field(default=5, gt=0, description="in a row; then it opens")
    circuit_reset_seconds: float = Field(default=5.0, gt=0)

    client_body_seconds: float = Field(
        default=15.0, gt=0, description="for a whole request body to arrive"
    )
    client_head_seconds: float = Field(default=10.0, gt=0, description="for a request's head")
    client_stall_seconds: float = Field(
        default=30.0, gt=0, description="for a client to take some 50 KB of its answer"
    )
    max_head_bytes: int = Field(default=32_768, gt=0, description="request line and headers")

    rate_limit_default: str = Field(default="60/minute", description="a caller, a route group")
    rate_limit_ai: str = "15/minute"
    rate_limit_storage_uri: str = Field(
        default="memory://", description="redis://host:6379 where there are several gateways"
    )
    rate_limit_storage_timeout: float = Field(
        default=0.05, gt=0, description="seconds; then this gateway counts by itself"
    )

    trusted_proxies: Listed = Field(
        default=(), description="addresses or networks whose X-Forwarded-For is believed"
    )
    cors_origins: Listed = Field(default=(), description="the storefront's origins")
    mailbox_url: str = Field(default="", description="linked on the start page; empty: no link")
    kafka_ui_url: str = Field(default="", description="linked on the start page; empty: no link")
    traces_url: str = Field(default="", description="linked on the start page; empty: no link")
    metrics_token: str = Field(
        default="", description="bearer token that /metrics asks for; empty: there is no /metrics"
    )

    @field_validator("rate_limit_default", "rate_limit_ai")
    @classmethod
    def _is_a_limit(cls, value: str) -> str:
        RateLimit.parse(value)
        return value

    @field_validator("rate_limit_storage_uri")
    @classmethod
    def _is_a_store(cls, value: str) -> str:
        if not value.startswith(("memory://", "redis://", "rediss://")):
            raise ValueError("neither memory:// nor a redis:// or rediss:// address")
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
            raise ValueError("not an http:// or https:// address")
        return value

    @field_validator(
        "product_service_url", "order_service_url", "inventory_service_url", "ai_service_url"
    )
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"{url!r} is not an http:// or https:// address")
        return tuple(url.rstrip("/") for url in value)

    def limit_of(self, group: str) -> RateLimit:
        """What one caller may ask of one route group."""
        return RateLimit.parse(self.rate_limit_ai if group == "ai" else self.rate_limit_default)
