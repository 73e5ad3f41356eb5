"""ai-service's settings; each field is an environment variable of its name."""

from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from chassis.settings import KafkaSettings, ServiceSettings


def _comma_separated(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]


class Settings(ServiceSettings, KafkaSettings):
    service_name: str = "ai-service"
    product_service_url: str = Field(
        default="http://127.0.0.1:8001", description="comma-separated base URLs, used round robin"
    )
    kafka_session_seconds: float = Field(
        default=30.0,
        ge=6.0,
        description="Kafka session timeout; on the embedded broker a group join takes half of it",
    )

    catalogue_refresh_seconds: float = Field(
        default=2.0,
        gt=0,
        description="pause between two reads of the catalogue's changes; longer if one is slow",
    )
    catalogue_max_age_seconds: float = Field(
        default=300.0, gt=0, description="maximum age of a catalogue that is used for answers"
    )
    catalogue_max_products: int = Field(default=20_000, gt=0)

    groq_api_key: SecretStr = Field(
        default=SecretStr(""),
        description="if this and groq_base_url are empty, no model is used",
    )
    groq_base_url: str = Field(
        default="",
        description="empty: Groq's API; a URL that ends in /v1: any OpenAI-compatible server, "
        "called at <url>/chat/completions",
    )
    model_name: str = "openai/gpt-oss-120b"
    model_fallbacks: Names = Field(
        default=("openai/gpt-oss-20b",), description="tried in this order if model_name fails"
    )
    model_budget_seconds: float = Field(
        default=8.0, gt=0, description="deadline of one answer, including retries and fallbacks"
    )
    model_max_tokens: int = Field(default=800, gt=0, description="token limit of one answer")
    model_concurrency: int = Field(default=8, gt=0, description="concurrent model calls")
    model_queue: int = Field(default=8, ge=0, description="calls that may wait for a free slot")
    model_queue_seconds: float = Field(default=0.5, gt=0, description="maximum wait for a slot")
    model_rate_limit: str = Field(
        default="20/minute", description="model answers per caller; above it: template answers"
    )
    model_reset_seconds: float = Field(
        default=15.0, gt=0, description="how long the circuit breaker stays open"
    )

    follow_up_max_age_hours: float = Field(
        default=24.0, gt=0, description="orders older than this get no follow-up"
    )
    follow_up_link_prefixes: Names = Field(
        default=(), description="allowed prefixes of links in a follow-up; empty: no links"
    )
    learn_max_products: int = Field(
        default=5_000, gt=0, description="products for which co-purchases are counted"
    )

    @property
    def model_enabled(self) -> bool:
        return bool(self.groq_api_key.get_secret_value() or self.groq_base_url)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.model_name, *self.model_fallbacks)))
