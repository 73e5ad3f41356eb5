"""The launcher with small services: commands, output and error messages."""

from __future__ import annotations

import os
import re
import signal
import socket
from pathlib import Path

import pytest
from small_fleet import SERVICE

from fleet.__main__ import main
from fleet.launcher.composition import Fleet
from fleet.launcher.settings import Settings
from fleet.launcher.start_stop import down
from fleet.processes.ports import free_port
from fleet.processes.runner import wait_until


@pytest.fixture
def running(checkout: Path) -> Fleet:
    """Return the fleet with all parts running."""
    assert main(["up"]) == 0
    return Fleet(Settings.load())


@pytest.fixture
def stopped(checkout: Path) -> Fleet:
    """Return the fleet with all parts stopped."""
    fleet = Fleet(Settings.load())
    down(fleet)
    return fleet


def test_up_starts_stopped_parts_and_prints_addresses(
    stopped: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["up"]) == 0
    said = capsys.readouterr().out
    assert "product-service" in said
    assert "kafka                  external, 127.0.0.1" in said
    assert main(["up"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("All parts are running already.\n")
    gateway = stopped.service("api-gateway").url
    mailbox = stopped.mailbox()
    assert mailbox is not None
    assert stopped.traces is not None
    addresses = (
        *(f"{gateway}/", f"{gateway}/docs", mailbox.url, stopped.topics_page.url),
        *(stopped.traces.url, f"{stopped.service('product-service').url}/docs"),
    )
    for address in addresses:
        assert f" {address} " in said.replace("\n", " \n")


def test_service_receives_address_of_its_server(running: Fleet) -> None:
    _, env = running.service("product-service").ask("/env")
    port = os.environ["MONGODB_PORT"]
    assert env["mongodb_url"] == f"mongodb://127.0.0.1:{port}/?directConnection=true"
    assert env["environment"] == "local"


def test_gateway_receives_issuer_and_key_set(running: Fleet) -> None:
    _, env = running.service("api-gateway").ask("/env")
    issuer = f"http://localhost:{os.environ['KEYCLOAK_PORT']}/realms/microservices"
    assert env["oidc_issuer"] == issuer
    assert env["oidc_jwks_url"] == f"{issuer}/protocol/openid-connect/certs"


def test_token_prints_only_the_token(running: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "bob"]) == 0
    printed, said = capsys.readouterr()
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", printed, re.ASCII)
    assert said == ""


def test_wrong_password_prints_error_and_no_token(
    running: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "bob", "--password", "wrong"]) == 1
    printed, said = capsys.readouterr()
    assert printed == ""
    assert "refused 'bob'" in said
    assert "p=..." in said


def test_status_shows_processes_and_dependencies(
    running: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 0
    said = capsys.readouterr().out
    assert "database UP" in said
    for name in ("postgres", "mongo", "mailbox", "product-service"):
        assert name in said


def test_status_of_service_killed_by_user_says_so_without_log(
    running: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kill", "product-service"]) == 0
    assert main(["status"]) == 1
    said = capsys.readouterr()
    assert "dead" in said.out
    assert said.err == (
        "\nproduct-service was killed by you. Start it again with: make restart s=product-service\n"
    )
    capsys.readouterr()
    assert main(["restart", "product-service"]) == 0
    restarted = capsys.readouterr().out
    assert "product-service is ready after" in restarted
    assert "circuit breaker" in restarted
    assert "lets requests through again after at most 5 s" in restarted
    assert main(["status"]) == 0


def test_status_of_service_that_died_shows_its_log(
    running: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kill", "product-service"]) == 0
    assert main(["restart", "product-service"]) == 0  # clears the record of an earlier kill
    runner = running.part("product-service").runner
    identity = runner.identity
    assert identity is not None
    identity.signal(signal.SIGKILL)
    assert wait_until(lambda: not runner.alive(), 10)
    assert main(["status"]) == 1
    said = capsys.readouterr()
    assert "product-service has died. The end of its log:" in said.err
    assert "Application startup complete" in said.err
    assert main(["restart", "product-service"]) == 0
    assert main(["status"]) == 0


@pytest.mark.parametrize("command", ["kill", "pause", "resume", "restart"])
def test_command_on_one_part_needs_whole_name_and_suggests_it(
    running: Fleet, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    before = [part.runner.identity for part in running.parts]
    for wrong, meant in {
        "mong": "mongo",
        "m": "mongo or mailbox",
        "product": "product-service",
        "prodcut-service": "product-service",
        "mongo ": "mongo",
        "Mongo": "mongo",
    }.items():
        assert main([command, wrong]) == 1
        said = capsys.readouterr().err
        assert f"There is no part {wrong!r}" in said
        assert f"Did you mean {meant}?" in said
    assert [part.runner.identity for part in running.parts] == before
    assert all(part.runner.alive() for part in running.parts)
    identities = [part.runner.identity for part in running.parts]
    assert not [each for each in identities if each is not None and each.paused()]


@pytest.mark.parametrize("command", ["up", "down", "reset"])
def test_command_for_whole_fleet_refuses_a_name(
    running: Fleet, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert main([command, "product-service"]) == 1
    assert f"{command} acts on the whole fleet" in capsys.readouterr().err
    assert all(part.runner.alive() for part in running.parts)


def test_logs_accept_a_prefix(running: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "prod", "--no-follow", "-n", "1"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert main(["logs", "m", "--no-follow"]) == 1
    assert "Did you mean mongo or mailbox?" in capsys.readouterr().err


def test_paused_server_is_shown_and_resumes(
    running: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pause", "mongo"]) == 0
    assert main(["status"]) == 0
    assert "paused" in capsys.readouterr().out
    assert main(["up"]) == 1
    assert "mongo is paused. Resume it first: make resume s=mongo" in capsys.readouterr().err
    assert main(["resume", "mongo"]) == 0
    running.part("mongo").runner.program.check()


def test_single_gateway_has_no_shared_store(running: Fleet) -> None:
    assert "rate_limit_storage_uri" not in running.service("api-gateway").ask("/env")[1]


def test_paused_process_can_be_stopped(running: Fleet) -> None:
    assert main(["pause", "product-service"]) == 0
    assert main(["down"]) == 0
    assert not any(part.runner.alive() for part in running.parts)


def test_down_stops_parts_of_earlier_settings(
    running: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_HOST", "smtp.example.com")
    assert main(["down"]) == 0
    assert not running.part("mailbox").runner.alive()


def test_external_keycloak_replaces_embedded_provider(
    stopped: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYCLOAK_URL", "https://login.example.com/")
    fleet = Fleet(Settings.load())
    assert not fleet.runs_itself("identity")
    assert fleet.identity.issuer == "https://login.example.com/realms/microservices"
    (external,) = (one for one in fleet.externals if one.name == "identity")
    assert (external.host, external.port) == ("login.example.com", 443)


def test_token_without_running_fleet_fails(
    stopped: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "alice"]) == 1
    printed, said = capsys.readouterr()
    assert printed == ""
    assert "Start the fleet: make up" in said


def test_taken_port_is_reported_before_any_start(
    stopped: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    port = stopped.service("product-service").port
    with socket.create_server(("127.0.0.1", port)):
        assert main(["up"]) == 1
    said = capsys.readouterr()
    assert f"Port {port} for product-service is already taken by" in said.err
    assert f"(pid {os.getpid()})" in said.err
    assert "PRODUCT_SERVICE_PORT=<port> make up" in said.err
    assert "up  " not in said.out


def test_service_dying_at_start_is_reported_and_all_parts_stop(
    stopped: Fleet, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = checkout / "product-service" / "app" / "main.py"
    code.write_text("raise SystemExit('MONGODB_DATABASE is missing')", encoding="utf-8")
    try:
        assert main(["up"]) == 1
    finally:
        code.write_text(SERVICE, encoding="utf-8")
    said = capsys.readouterr().err
    assert "product-service has died. The end of its log:" in said
    assert "MONGODB_DATABASE is missing" in said
    assert not any(part.runner.alive() for part in stopped.parts)


def test_service_without_environment_is_refused(
    stopped: Fleet, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    venv = checkout / "product-service" / "venv"
    venv.rename(venv.with_name("away"))
    try:
        assert main(["up"]) == 1
    finally:
        venv.with_name("away").rename(venv)
    assert "product-service has no environment yet" in capsys.readouterr().err


def test_unreachable_external_server_is_named(
    stopped: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MONGODB_URL", f"mongodb://127.0.0.1:{free_port()}/")
    assert main(["up"]) == 1
    assert "MONGODB_URL names 127.0.0.1:" in capsys.readouterr().err


def test_replicas_have_own_names_and_callers_get_all_addresses(
    stopped: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPLICAS", "2")
    for variable in ("PRODUCT_SERVICE_2_PORT", "GATEWAY_2_PORT", "VALKEY_PORT"):
        monkeypatch.setenv(variable, str(free_port()))
    assert main(["up"]) == 0
    fleet = Fleet(Settings.load())
    urls = [fleet.service(name).url for name in ("product-service", "product-service-2")]
    told = [fleet.service(name).ask("/env")[1] for name in ("api-gateway", "api-gateway-2")]
    assert [env["product_service_url"] for env in told] == [",".join(urls)] * 2
    store = f"redis://127.0.0.1:{os.environ['VALKEY_PORT']}"
    assert [env["rate_limit_storage_uri"] for env in told] == [store] * 2
    assert main(["kill", "product-service-2"]) == 0
    assert (
        main(["kill", "product-service"]) == 0
    )  # only the first replica, although its name is a prefix
    assert main(["status"]) == 1
    assert "product-service-2 was killed by you" in capsys.readouterr().err
    assert main(["restart", "product-service-2"]) == 0
    assert main(["logs", "product-service-2", "--no-follow"]) == 0
    monkeypatch.setenv("REPLICAS", "1")
    assert main(["down"]) == 0  # stops the second replicas too
    assert not fleet.part("product-service-2").runner.alive()


def test_invalid_number_of_replicas_is_refused(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPLICAS", "three")
    assert main(["status"]) == 1
    assert "REPLICAS=three is not possible: use 1 or 2" in capsys.readouterr().err


def test_unknown_name_lists_known_names(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kill", "payment"]) == 1
    said = capsys.readouterr().err
    assert "There is no part 'payment'" in said
    assert "product-service" in said
    assert main(["pause"]) == 1
    assert "Say which one with s=<name>" in capsys.readouterr().err
