"""CI tests and builds everything that a change affects."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import changed
import pytest

from checks.check import files

ALL_SUITES, ALL_IMAGES = changed.everything()
FLEET = {"tests", "judge"}


@pytest.mark.parametrize(
    ("paths", "suites", "images"),
    [
        (["order-service/app/main.py"], {"order-service", *FLEET}, {"order-service"}),
        (["order-service/requirements.txt"], {"order-service", *FLEET}, {"order-service"}),
        (["order-service/tests/unit/test_a.py"], {"order-service", *FLEET}, set()),
        (
            ["api-gateway/app/main.py", "ai-service/Dockerfile"],
            {"api-gateway", "ai-service", *FLEET},
            {"api-gateway", "ai-service"},
        ),
        (["order-service/order-docs.md", "docs/guarantees.md"], {"local", "tests"}, set()),
        (["tests/e2e/test_orders.py"], FLEET, set()),
        ([], set(), set()),
    ],
)
def test_change_selects_affected_suites_and_images(
    paths: list[str], suites: set[str], images: set[str]
) -> None:
    assert changed.concerned(paths) == (suites, images)


@pytest.mark.parametrize(
    "path",
    [
        "libs/chassis/chassis/web.py",
        "libs/chassis/tests/unit/test_web.py",
        "local/fleet/launcher/start_stop.py",
        "local/tests/test_launcher.py",
        "contracts/events/order-placed.schema.json",
        "docker/keycloak/realm-export.json",
        "docker-compose.yml",
        "Makefile",
        "pyproject.toml",
        ".dockerignore",
        ".github/workflows/ci.yml",
        "payment-service/app/main.py",  # a removed or incomplete service
    ],
)
def test_change_of_shared_code_selects_everything(path: str) -> None:
    assert changed.concerned(["docs/operations.md", path]) == (ALL_SUITES, ALL_IMAGES)


def test_every_file_selects_a_suite() -> None:
    untested = [path for path in files() if not changed.concerned([path])[0]]
    assert untested == []


def test_selected_images_have_their_suite_selected() -> None:
    """ci.yml builds an image after its suite; with a skipped suite it would build nothing."""
    for path in files():
        suites, images = changed.concerned([path])
        assert images <= suites, path


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a checkout with one commit: a file of order-service, and one of the gateway."""
    monkeypatch.setattr(changed, "ROOT", tmp_path)
    _git(tmp_path, "init", "--quiet", "--initial-branch=main")
    _commit(tmp_path, **{"order-service/app/main.py": "1", "api-gateway/app/main.py": "2"})
    return tmp_path


def _git(folder: Path, *arguments: str) -> str:
    me = ("-c", "user.name=Alice", "-c", "user.email=alice@example.com", "-c", "commit.gpgsign=0")
    done = subprocess.run(
        ["git", *me, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def _commit(folder: Path, **contents: str) -> str:
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    _git(folder, "add", "--all")
    _git(folder, "commit", "--quiet", "--message", "something")
    return _git(folder, "rev-parse", "HEAD")


def _said(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, list[str]]:
    assert changed.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    return {name: json.loads(value) for name, value in (line.split("=", 1) for line in lines)}


def test_changes_are_counted_since_the_merge_base(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _git(repository, "switch", "--quiet", "--create", "mine")
    _commit(repository, **{"order-service/app/main.py": "3"})
    _git(repository, "switch", "--quiet", "main")
    theirs = _commit(repository, **{"api-gateway/app/main.py": "4"})
    _git(repository, "switch", "--quiet", "mine")
    assert _said(capsys, "--since", theirs) == {
        "suites": ["judge", "order-service", "tests"],
        "images": ["order-service"],
    }


def test_renamed_file_counts_with_both_paths(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _git(repository, "rev-parse", "HEAD")
    (repository / "ai-service").mkdir()
    _git(repository, "mv", "order-service/app/main.py", "ai-service/main.py")
    _commit(repository)
    assert _said(capsys, "--since", before)["images"] == ["ai-service", "order-service"]


@pytest.mark.parametrize("since", ["", "0" * 40, "1" * 40, "no-such-branch"])
def test_unknown_commit_selects_everything(
    repository: Path, since: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _said(capsys, "--since", since) == {
        "suites": sorted(ALL_SUITES),
        "images": sorted(ALL_IMAGES),
    }
