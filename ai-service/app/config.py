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
        default="http://127.0.0.1:8001", description="several with commas between: round robin"
    )
    kafka_session_seconds: float = Field(
        default=30.0,
        ge=6.0,
        description="a member that is silent this long loses its partitions; on the embedded "
        "broker each join also lasts half of it",
    )

    catalogue_refresh_seconds: float = Field(
        default=5.0,
        gt=0,
        description="between two reads of the catalogue; longer where one is slow",
    )
    catalogue_max_age_seconds: float = Field(
        default=300.0, gt=0, description="an older catalogue is not answered from"
    )
    catalogue_max_products: int = Field(default=20_000, gt=0)

    groq_api_key: SecretStr = Field(
        default=SecretStr(""), description="without it, and without a base URL, all is offline"
    )
    groq_base_url: str = Field(
        default="",
        description="Groq's own unless set; one that ends in /v1 is any OpenAI-compatible server: "
        "<url>/chat/completions",
    )
    model_name: str = "openai/gpt-oss-120b"
    model_fallbacks: Names = Field(
        default=("openai/gpt-oss-20b",), description="asked in this order where the first is away"
    )
    model_budget_seconds: float = Field(
        default=8.0, gt=0, description="for one answer, all tries and models together"
    )
    model_max_tokens: int = Field(default=800, gt=0, description="of one answer")
    model_concurrency: int = Field(default=8, gt=0, description="calls at once")
    model_queue: int = Field(default=8, ge=0, description="more waiting than this: offline at once")
    model_queue_seconds: float = Field(default=0.5, gt=0, description="waited for a turn at most")
    model_rate_limit: str = Field(
        default="20/minute", description="model answers for one caller; beyond it: offline"
    )
    model_reset_seconds: float = Field(
        default=15.0, gt=0, description="for how long an open circuit asks nothing"
    )

    follow_up_max_age_hours: float = Field(
        default=24.0, gt=0, description="an order that is older gets no follow-up"
    )
    follow_up_link_prefixes: Names = Field(
        default=(), description="links in a follow-up must begin with one of these; none: no links"
    )
    learn_max_products: int = Field(
        default=5_000, gt=0, description="of so many products it is known what goes with them"
    )

    @property
    def model_enabled(self) -> bool:
        return bool(self.groq_api_key.get_secret_value() or self.groq_base_url)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.model_name, *self.model_fallbacks)))
