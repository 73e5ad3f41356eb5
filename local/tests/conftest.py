"""Fixtures of the launcher's tests, which also use the fleet's pytest plugin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from small_fleet import FOREIGN, OWN_SERVER, PORTS, SERVICE, write_service

from fleet.__main__ import main
from fleet.launcher.settings import Settings
from fleet.processes.ports import free_port

pytest_plugins = ["fleet.testing.fixtures"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, kafka_bootstrap: str) -> Iterator[Path]:
    """Create a checkout with two services, free ports, and an external broker."""
    root = tmp_path_factory.mktemp("checkout")
    write_service(root, "product-service", SERVICE)
    write_service(root, "api-gateway", SERVICE)
    (root / "api-gateway" / "app" / "__main__.py").write_text(OWN_SERVER, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name in (*PORTS, *FOREIGN, "FLEET_STATE"):
            patch.delenv(name, raising=False)
        for name in PORTS:
            patch.setenv(name, str(free_port()))
        patch.setenv("FLEET_ROOT", str(root))
        patch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
        yield root
        main(["reset"])
        assert not Settings.load().state.exists()
