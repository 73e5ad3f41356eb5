"""A service works without the repository: its tests run in a copy of its folder, its image builds.

The copy gets the packages `chassis` and `fleet` as wheels. Only product-service is tested by
default; INDEPENDENT_SERVICES names others (separated by spaces, or `all`).
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from installer import installer_env  # type: ignore[import-untyped]  # a script, no package

from tests.fleet_under_test import ROOT, SERVICES

UV = str(ROOT / ".venv" / "bin" / "uv")


def chosen_services() -> list[str]:
    names = os.environ.get("INDEPENDENT_SERVICES", "product-service").split()
    return list(SERVICES) if names == ["all"] else names


each_service = pytest.mark.parametrize("service", chosen_services())


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command with the installer's environment; fail with its output."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=installer_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout[-8_000:]}"


def copy_tracked_files(path: str, target: Path) -> None:
    """Copy the files below a path of the repository that Git tracks."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        copy = target / Path(name).relative_to(path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy)


def third_party(requirements: Path) -> Path:
    """Write the requirements without the editable packages of this repository."""
    lines = requirements.read_text("utf-8").splitlines()
    reduced = requirements.with_name("third-party.txt")
    reduced.write_text("\n".join(line for line in lines if not line.startswith("-e ")), "utf-8")
    return reduced


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The wheels of `chassis` and `fleet`."""
    folder = tmp_path_factory.mktemp("wheels")
    for package in ("libs/chassis", "local"):
        run(UV, "build", "--quiet", "--wheel", "--out-dir", folder, package, cwd=ROOT)
    return sorted(folder.glob("*.whl"))


@each_service
def test_unit_tests_pass_in_a_copy_of_the_folder(
    service: str, wheels: list[Path], tmp_path: Path
) -> None:
    folder, python = tmp_path / service, tmp_path / "venv" / "bin" / "python"
    copy_tracked_files(service, folder)
    run(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv", cwd=tmp_path)
    requirements = third_party(folder / "requirements-dev.txt")
    install = (UV, "pip", "install", "--quiet", "--python", python, "--no-deps")
    run(*install, "-r", requirements, *wheels, cwd=tmp_path)
    run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit", cwd=folder)


@each_service
def test_steps_of_the_dockerfile_yield_an_importable_app(service: str, tmp_path: Path) -> None:
    srv, venv, cache = tmp_path / "srv", tmp_path / "venv", tmp_path / "cache"
    srv.mkdir()
    text = (ROOT / service / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    build = text.split("\nFROM ")[1]  # the first stage
    steps = re.findall(r"^(COPY|RUN) (.+)$", build, re.MULTILINE)
    assert [kind for kind, _ in steps].count("RUN") >= 3, steps
    for kind, step in steps:
        if kind == "COPY":
            *sources, target = step.split()
            for source in sources:
                place = srv / target / Path(source).name if target.endswith("/") else srv / target
                copy_file_or_folder(source, place)
        else:
            command = re.sub(r"--mount=\S+", "", step)
            command = command.replace("--cache-dir /pip", f"--cache-dir {cache}")
            command = command.replace("/venv", str(venv))
            run("sh", "-c", command.replace("python -m venv", f"{sys.executable} -m venv"), cwd=srv)
    run(venv / "bin" / "python", "-c", "import app.main", cwd=srv)


def copy_file_or_folder(source: str, target: Path) -> None:
    if (ROOT / source).is_dir():
        copy_tracked_files(source, target)
    else:
        shutil.copy2(ROOT / source, target)
