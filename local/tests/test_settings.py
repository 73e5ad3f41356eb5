"""Settings come from the environment, then from .env; errors name the wrong setting."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.launcher.composition import Fleet
from fleet.launcher.migrations import newest
from fleet.launcher.settings import Settings, default_state, read_dotenv


def _settings(tmp_path: Path, **env: str) -> Settings:
    return Settings(tmp_path, tmp_path / "state", env)


def test_dotenv_supports_comments_export_and_quotes(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "# a comment\n\nKAFKA_PORT=9192\nexport LOG_LEVEL = 'DEBUG'\nSMTP_HOST=\n"
        'MAIL_FROM="Shop #1 <shop@example.com>"\nPOSTGRES_PORT=5533 # moved\nnonsense\n',
        encoding="utf-8",
    )
    assert read_dotenv(path) == {
        "KAFKA_PORT": "9192",
        "LOG_LEVEL": "DEBUG",
        "MAIL_FROM": "Shop #1 <shop@example.com>",
        "POSTGRES_PORT": "5533",
    }


def test_environment_overrides_dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("KAFKA_PORT=1111\nMONGODB_PORT=2222\n", encoding="utf-8")
    monkeypatch.setattr(os, "environ", {"FLEET_ROOT": str(tmp_path), "KAFKA_PORT": "3333"})
    settings = Settings.load()
    assert settings.port("KAFKA_PORT", 9092).number == 3333
    assert settings.port("MONGODB_PORT", 27017).number == 2222
    assert settings.port("POSTGRES_PORT", 5433).number == 5433


@pytest.mark.parametrize("text", ["eight", "0", "65536", "-1", "80.5"])
def test_invalid_port_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(FleetError, match=f"KAFKA_PORT={text} is not a port"):
        _settings(tmp_path, KAFKA_PORT=text).port("KAFKA_PORT", 9092)


def test_state_folder_of_root_is_below_var_tmp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_state(tmp_path).parent == Path("/var/tmp")  # noqa: S108
    assert default_state(tmp_path) != default_state(tmp_path / "another-checkout")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_state(tmp_path) == tmp_path / ".fleet"


def test_newest_migration_has_no_successor(tmp_path: Path) -> None:
    (tmp_path / "0001_a.py").write_text('revision = "0001"\ndown_revision = None\n')
    (tmp_path / "0002_b.py").write_text('revision: str = "0002"\ndown_revision: str = "0001"\n')
    assert newest(tmp_path) == {"0002"}
    (tmp_path / "0003_c.py").write_text('revision = "0003"\ndown_revision = ("0001", "0002")\n')
    assert newest(tmp_path) == {"0003"}


def test_proxy_port_changes_only_addresses_of_services(tmp_path: Path) -> None:
    detours = "postgres=1111,kafka=2222, order-service=3333,mailbox=4444"
    fleet = Fleet(Settings(Path(__file__).parents[2], tmp_path, {"FLEET_VIA": detours}))
    gateway = fleet.service("api-gateway").command().env
    assert gateway["ORDER_SERVICE_URL"] == "http://127.0.0.1:3333"
    assert gateway["PRODUCT_SERVICE_URL"] == "http://127.0.0.1:8001"
    order = fleet.service("order-service").command()
    assert order.env["DATABASE_URL"].endswith("@127.0.0.1:1111/order_db")
    assert order.env["KAFKA_BOOTSTRAP_SERVERS"] == "127.0.0.1:2222"
    assert order.argv[order.argv.index("--port") + 1] == "8002"
    assert fleet.service("notification-service").command().env["SMTP_PORT"] == "4444"
    assert [port.number for port in fleet.part("postgres").runner.program.ports] == [5433]


def test_proxy_without_port_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="FLEET_VIA has 'postgres'"):
        _settings(tmp_path, FLEET_VIA="postgres").detours()
