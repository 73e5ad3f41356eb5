"""Fixtures of all tests. The fleet's plugin starts a server when a test first needs it."""

from collections.abc import Callable
from typing import Any

import pytest

from app.config import Settings

pytest_plugins = ["fleet.testing.fixtures"]

NOWHERE = "127.0.0.1:9"  # the discard port, which has no listener

SettingsFactory = Callable[..., Settings]


def make(**values: Any) -> Settings:
    """Return settings for a test; without a given address, both servers are unreachable."""
    defaults: dict[str, Any] = {
        "environment": "test",
        "log_level": "ERROR",
        "database_url": f"postgresql+asyncpg://nobody:none@{NOWHERE}/none",
        "kafka_bootstrap_servers": NOWHERE,
        "kafka_enable_idempotence": False,
        # Long: on a busy machine 200 concurrent buyers wait for connections.
        "database_pool_timeout": 20.0,
        "database_statement_timeout": 20.0,
    }
    return Settings(**(defaults | values))


@pytest.fixture(scope="session")
def make_settings() -> SettingsFactory:
    return make
