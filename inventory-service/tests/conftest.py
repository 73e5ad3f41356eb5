"""What every test may ask for. Servers come from the fleet's plugin, started when first needed."""

from collections.abc import Callable
from typing import Any

import pytest

from app.config import Settings

pytest_plugins = ["fleet.testing.fixtures"]

NOWHERE = "127.0.0.1:9"  # the discard port, which has no listener

SettingsFactory = Callable[..., Settings]


def make(**values: Any) -> Settings:
    """Settings for a test; both servers are away unless they are named."""
    defaults: dict[str, Any] = {
        "environment": "test",
        "log_level": "ERROR",
        "database_url": f"postgresql+asyncpg://nobody:none@{NOWHERE}/none",
        "kafka_bootstrap_servers": NOWHERE,
        "kafka_enable_idempotence": False,
        # A queue of 200 buyers on a busy machine is not an outage.
        "database_pool_timeout": 20.0,
        "database_statement_timeout": 20.0,
    }
    return Settings(**(defaults | values))


@pytest.fixture(scope="session")
def make_settings() -> SettingsFactory:
    return make
