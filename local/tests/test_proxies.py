"""Proxy variables of the environment do not apply to loopback addresses."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from fleet.__main__ import main
from fleet.clients.local_http import is_loopback, open_url
from fleet.errors import FleetError
from fleet.launcher.composition import Fleet
from fleet.launcher.settings import Settings
from fleet.processes.ports import free_port
from fleet.tools.orders import place

NAMES = ("http_proxy", "https_proxy", "all_proxy")


@pytest.fixture(params=["lower", "upper"])
def proxies(request: pytest.FixtureRequest, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set all proxy variables of one case to a proxy that does not exist."""
    proxy = f"http://127.0.0.1:{free_port()}"
    for name in (*NAMES, "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in NAMES:
        monkeypatch.setenv(name.upper() if request.param == "upper" else name, proxy)
    return proxy


def test_launcher_uses_no_proxy_for_its_own_fleet(
    proxies: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up"]) == 0
    fleet = Fleet(Settings.load())
    assert main(["token", "alice"]) == 0
    mailbox = fleet.mailbox()
    assert mailbox is not None
    assert mailbox.messages() == []
    with pytest.raises(FleetError, match="refused with 200"):  # the response of the small gateway
        place(fleet, {}, "no token")


def test_other_machines_are_reached_through_the_proxy(proxies: str) -> None:
    with pytest.raises(OSError, match="refused"):
        open_url(urllib.request.Request("http://shop.example.com/"), timeout=5)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9000/health", True),
        ("http://127.1.2.3/", True),
        ("http://localhost:8081", True),
        ("http://[::1]:8081", True),
        ("http://shop.example.com", False),
        ("http://10.0.0.1", False),
        ("http://localhost.example.com", False),
    ],
)
def test_loopback_hosts_are_recognised(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected


def test_health_check_of_containers_uses_no_proxy(proxies: str) -> None:
    assert main(["up"]) == 0
    fleet = Fleet(Settings.load())
    root = Path(__file__).parents[2]
    for port, expected in ((fleet.service("product-service").port, 0), (free_port(), 1)):
        done = subprocess.run(
            [sys.executable, "-m", "chassis.app.healthcheck", str(port), "/health"],
            env={**os.environ, "PYTHONPATH": str(root / "libs" / "chassis")},
            check=False,
        )
        assert done.returncode == expected
