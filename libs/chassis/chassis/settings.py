"""Settings that every service has. The environment is the only source of configuration."""

from typing import Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

S = TypeVar("S", bound=BaseSettings)


def load_settings(settings_type: type[S]) -> S:
    """Read the settings from the environment.

    Raises:
        SystemExit: with one line for each invalid or missing variable. Pydantic's own message
            would print the values of all variables, secrets included.
    """
    try:
        return settings_type()
    except ValidationError as error:
        lines = [
            f"{str(wrong['loc'][0]).upper() if wrong['loc'] else 'Settings'}: {wrong['msg']}. "
            "Set the environment variable and start again."
            for wrong in error.errors(include_input=False, include_url=False)
        ]
        raise SystemExit("\n".join(lines)) from None


class ServiceSettings(BaseSettings):
    """Base of each service's `Settings`; each field is the environment variable of its name.

    `create_app()` builds them and passes them on; no module reads them from a global.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    service_name: str
    environment: Literal["local", "test", "compose", "production"] = "local"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    max_body_bytes: int = Field(
        default=1_000_000,
        gt=0,
        description="larger bodies get 413; most routes have a smaller limit",
    )
    service_version: str = Field(default="1.0.0", description="the spans' `service.version`")
    otel_exporter_otlp_endpoint: str = Field(
        default="",
        description="base URL of the OTLP/HTTP collector; empty: no spans are exported",
    )
    otel_traces_sampler_arg: float = Field(
        default=0.05, ge=0, le=1, description="share of the traces that are sampled"
    )


class KafkaSettings(BaseSettings):
    """Settings of a service that produces or consumes events."""

    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    kafka_enable_idempotence: bool = Field(
        default=True, description="false only for the embedded broker, which does not support it"
    )
