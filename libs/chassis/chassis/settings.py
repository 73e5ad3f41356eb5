"""What every service's settings begin with. The environment is the only configuration."""

from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

S = TypeVar("S", bound=BaseSettings)


def load_settings(settings_type: type[S]) -> S:
    """Read the settings from the environment.

    Raises SystemExit with one line for each invalid or missing variable. Pydantic's own text would
    print the values of all variables, secrets included.
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
    """Base of each service's own `Settings`; every field is an environment variable of its name.

    A service builds one in `create_app()` and hands it on; nothing reads it from a global.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    service_name: str
    environment: Literal["local", "test", "compose", "production"] = "local"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    max_body_bytes: int = Field(
        default=1_000_000,
        gt=0,
        description="larger bodies get 413; most routes have a smaller limit of their own",
    )
    service_version: str = Field(default="1.0.0", description="named in spans")
    otel_exporter_otlp_endpoint: str = Field(
        default="", description="the collector's base URL for OTLP over HTTP; empty: no spans"
    )
    otel_exporter_otlp_headers: SecretStr = Field(
        default=SecretStr(""), description="such as `authorization=Bearer%20...`, commas between"
    )
    otel_sdk_disabled: bool = Field(default=False, description="no spans, whatever else is set")
    otel_export_retry_max_seconds: float = Field(
        default=30.0,
        gt=0,
        description="longest wait before an unreachable collector is tried again",
    )
    otel_traces_sampler_arg: float = Field(
        default=0.05, ge=0, le=1, description="how many of the traces that begin here are recorded"
    )


class KafkaSettings(BaseSettings):
    """Mixed into the settings of a service that produces or consumes."""

    kafka_bootstrap_servers: str = "127.0.0.1:9092"
    kafka_enable_idempotence: bool = Field(
        default=True, description="false only for the embedded broker, which does not speak it"
    )
