"""`make check` fails on each kind of violation, and reports checks that it cannot run."""

from __future__ import annotations

import json
import os
import shutil
import string
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from installer import ROOT

from checks import audit, check
from checks.audit import KNOWN_HOLE, pins

LOCAL = ROOT / "local"
NAME, VERSION = KNOWN_HOLE.split("==")


def _module(
    name: str, folder: Path = LOCAL, **environment: str
) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if key != "CI"}
    return subprocess.run(
        [sys.executable, "-m", name],
        env=plain | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


# -- known vulnerabilities


class _Feed(ThreadingHTTPServer):
    """A fake of the OSV API with the given vulnerabilities."""

    holes: dict[tuple[str, str], str]
    asked: set[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1/query"

    def answer(self, query: dict[str, Any]) -> dict[str, Any]:
        name = query["package"]["name"]
        self.asked.add(name)
        known = self.holes.get((name, query["version"]))
        return {"vulns": [{"id": known, "summary": "bad", "affected": []}]} if known else {}


class _Answer(BaseHTTPRequestHandler):
    server: _Feed

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(self.server.answer(query)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Write no log, to keep the test output clean."""


@pytest.fixture
def feed() -> Iterator[_Feed]:
    with _Feed(("127.0.0.1", 0), _Answer) as server:
        server.holes, server.asked = {(NAME, VERSION): "PYSEC-2019-217"}, set()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _audit(feed: _Feed) -> subprocess.CompletedProcess[str]:
    return _module("checks.audit", OSV_URL=feed.url)


def test_audit_queries_every_pinned_package(feed: _Feed) -> None:
    done = _audit(feed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert feed.asked >= {"fastapi", "sqlalchemy", "pymongo", "aiokafka", "uv", "mypy", NAME}


def test_vulnerable_requirement_fails_and_is_named(
    feed: _Feed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = pins()["fastapi"]
    feed.holes["fastapi", versions[0]] = "PYSEC-2099-1"
    monkeypatch.setattr(
        audit, "pins", lambda: {"fastapi": versions}
    )  # one package, to save seconds
    monkeypatch.setenv("OSV_URL", feed.url)
    assert audit.main() == 1
    assert "PYSEC-2099-1" in capsys.readouterr().out


def test_database_without_the_known_vulnerability_is_not_used(feed: _Feed) -> None:
    feed.holes.clear()
    done = _audit(feed)
    assert done.returncode == check.NOT_CHECKED
    assert "no vulnerability database is reachable" in done.stdout


# -- promtool


def test_missing_promtool_is_not_checked_but_fails_in_ci(tmp_path: Path) -> None:
    copy = tmp_path / "local"  # its .venv is empty: promtool was not downloaded
    (copy / "checks").mkdir(parents=True)
    scripts = ("bootstrap.py", "installer.py")
    for name in (*scripts, "checks/__init__.py", "checks/promtool.py", "checks/check.py"):
        (copy / name).write_text((LOCAL / name).read_text())
    here = _module("checks.promtool", copy, PATH=str(tmp_path))
    assert here.returncode == check.NOT_CHECKED, here.stderr
    assert "no promtool" in here.stdout
    in_ci = _module("checks.promtool", copy, PATH=str(tmp_path), CI="true")
    assert in_ci.returncode == 1


@pytest.mark.parametrize(
    ("code", "passes", "verdict"),
    [(0, True, "ok"), (check.NOT_CHECKED, True, "NOT CHECKED"), (1, False, "FAILED")],
)
def test_check_result_distinguishes_ok_not_checked_and_failed(
    code: int, passes: bool, verdict: str, capsys: pytest.CaptureFixture[str]
) -> None:
    program = f"print('because of something'); raise SystemExit({code})"
    assert check.run(check.Check("looks", (sys.executable, "-c", program))) is passes
    said = capsys.readouterr().out
    assert verdict in said
    assert ("because of something" in said) is (code != 0)


# -- secrets


def _made_up(length: int, letters: str = string.ascii_letters + string.digits) -> str:
    chance = Random(7)  # generated, so that this file contains no secret
    return "".join(chance.choice(letters) for _ in range(length))


def _private_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


SECRETS = {
    "half an AWS key": f'KEY = "AKIA{_made_up(16, string.ascii_uppercase + "234567")}"',
    "the other half": f'aws_secret_access_key = "{_made_up(40)}"',
    "a private key": _private_key(),
    "a token of GitHub's": f'TOKEN = "ghp_{_made_up(36)}"',
    "a key of Groq's": f"GROQ_API_KEY=gsk_{_made_up(52)}",
}


def test_planted_secrets_are_found_and_not_printed(tmp_path: Path) -> None:
    planted = {name: tmp_path / f"settings_{number}.py" for number, name in enumerate(SECRETS)}
    for name, path in planted.items():
        path.write_text(f"# settings\n{SECRETS[name]}\n")
    command = check.secrets_command([str(path) for path in planted.values()])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode not in (0, check.NOT_CHECKED)
    for name, path in planted.items():
        assert str(path) in done.stdout, name
        value = SECRETS[name].split('"')[-2 if '"' in SECRETS[name] else 0]
        assert value not in done.stdout, name


def test_scanned_files_include_new_files_but_no_environments(tmp_path: Path) -> None:
    assert "local/checks/check.py" in check.files()
    assert not [path for path in check.files() if path.startswith((".venv/", "local/venv/"))]


# -- the direction of imports


PLANTED = {
    "a service that calls a route": (
        *("order-service", "app/services/order_service.py", "import app.routes.order_routes"),
        "app.services is not allowed to import app.routes",
    ),
    "a repository that calls a service": (
        *("inventory-service", "app/repositories/ledger_repository.py"),
        *(
            "import app.services.low_stock",
            "app.repositories is not allowed to import app.services",
        ),
    ),
    "a model that calls a repository": (
        *("product-service", "app/models/product.py", "import app.repositories.product_repository"),
        "app.models is not allowed to import app.repositories",
    ),
    "a route that asks a client itself": (
        *("ai-service", "app/routes/ai_routes.py", "import app.clients.model_client"),
        "app.routes is not allowed to import app.clients",
    ),
    "the gateway's policy that knows what it forwards to": (
        *("api-gateway", "app/policy.py", "import app.upstreams"),
        "app.policy is not allowed to import app.upstreams",
    ),
    "a module that has no place": (
        *("notification-service", "app/helpers.py", ""),
        "helpers",
    ),
    "a service that uses the launcher": (
        *("order-service", "app/config.py", "import fleet.processes.ports"),
        "app is not allowed to import fleet",
    ),
    "a service that uses its tests": (
        *("ai-service", "app/config.py", "from tests import samples"),
        "app is not allowed to import tests",
    ),
    "a chassis that knows a service": (
        *("libs/chassis", "chassis/observability/tracing.py", "import app.main"),
        "chassis is not allowed to import app",
    ),
    "an observability package that knows the problems": (
        *("libs/chassis", "chassis/observability/tracing.py", "import chassis.problems"),
        "chassis.observability is not allowed to import chassis.problems",
    ),
}


@pytest.mark.parametrize("name", PLANTED, ids=[name.replace(" ", "-") for name in PLANTED])
def test_import_against_the_layers_fails_and_is_named(name: str, tmp_path: Path) -> None:
    service, module, planted, said = PLANTED[name]
    looks = check.imports(ROOT / service)
    assert looks in check.checks()
    package = module.partition("/")[0]
    shutil.copytree(ROOT / service / package, tmp_path / package)
    shutil.copy(ROOT / service / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a") as source:
        source.write(f"\n{planted}\n")
    done = subprocess.run(looks.command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in " ".join(done.stdout.split()), done.stdout
