"""`make deploy` with a fake ssh that runs the commands in a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import deploy
import pytest
from installer import ROOT, TOOLS

GIVEN = {
    "VERSION": "1.2.0",
    "IMAGE_PREFIX": "registry.invalid:5000/me/shop",
    "DEPLOY_HOST": "shop@host.invalid",
}
SSH = """\
#!/bin/sh
while [ "$1" != -- ]; do shift; done
test "$2" = shop@host.invalid || exit 254
cd "{host}" && exec sh -c "$3"
"""
DOCKER = """\
#!/bin/sh
# docker compose, as far as it can be had without an engine: what it would start, and from where
test "$1" = compose || exit 253
shift
echo "$*" >> "{host}/asked"
exec "{compose}" --env-file .env --env-file release.env config --images > "{host}/images"
"""
Deploy = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Create the host's folder with a password file."""
    folder = tmp_path / "host"
    (folder / "shop").mkdir(parents=True)
    (folder / "shop" / ".env").write_text("POSTGRES_PASSWORD=theirs\n", encoding="utf-8")
    return folder


@pytest.fixture
def run(host: Path, tmp_path: Path) -> Deploy:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"ssh": SSH, "docker": DOCKER}.items():
        program = programs / name
        program.write_text(text.format(host=host, compose=TOOLS / "bin" / "docker-compose"))
        program.chmod(0o755)

    def deployed(*options: str, **changes: str) -> subprocess.CompletedProcess[str]:
        path = f"{programs}:{os.environ['PATH']}"
        environment: Mapping[str, str] = {"PATH": path, "HOME": str(tmp_path), **GIVEN, **changes}
        return subprocess.run(
            [sys.executable, str(ROOT / "local" / "deploy.py"), *options],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return deployed


def test_dry_run_prints_every_step_and_changes_nothing(run: Deploy, host: Path) -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    for _, command in deploy.steps(GIVEN["VERSION"], GIVEN["IMAGE_PREFIX"]):
        assert f"shop@host.invalid: {command}" in done.stdout
    assert [path.name for path in (host / "shop").iterdir()] == [".env"]


def test_deployment_copies_files_and_starts_the_version(run: Deploy, host: Path) -> None:
    done = run("--apply")
    assert done.returncode == 0, done.stdout + done.stderr
    images = (host / "images").read_text().split()
    assert "registry.invalid:5000/me/shop/order-service:1.2.0" in images
    assert not [name for name in images if name.startswith("shop/")]
    *_, started = (host / "asked").read_text().splitlines()
    assert started.endswith("up --detach --no-build --wait --remove-orphans")
    assert (host / "shop/.env").read_text() == "POSTGRES_PASSWORD=theirs\n"
    assert (host / "shop/docker/keycloak/realm-export.json").is_file()


def test_host_without_passwords_is_refused_before_start(run: Deploy, host: Path) -> None:
    (host / "shop" / ".env").unlink()
    done = run("--apply")
    assert done.returncode == 1
    assert "check that the passwords exist" in done.stderr
    assert not (host / "asked").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VERSION", "1.2.0; reboot"),
        ("VERSION", ""),
        ("IMAGE_PREFIX", "registry.invalid/$(id)"),
        ("DEPLOY_HOST", "-oProxyCommand=id"),
        ("DEPLOY_HOST", "shop@-oProxyCommand=id"),
    ],
)
def test_invalid_version_prefix_or_host_is_refused(
    name: str, value: str, run: Deploy, host: Path
) -> None:
    done = run("--apply", **{name: value})
    assert done.returncode == 1
    assert f"{name}={value!r} is invalid" in done.stderr
    assert [path.name for path in (host / "shop").iterdir()] == [".env"]
