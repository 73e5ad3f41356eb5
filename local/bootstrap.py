"""Create the environments: ``.venv`` with tools and launcher, and one for each service.

    python3 local/bootstrap.py                      for `make demo`
    python3 local/bootstrap.py --dev                for `make test` and `make check`
    python3 local/bootstrap.py order-service --dev  for one service

Uses the standard library only, and syntax that an old Python can parse to report its version. An
environment is rebuilt only if its requirement files have changed.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import glob
import hashlib
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from installer import (
    ROOT,
    SHOW_VERSION,
    TOOLS,
    UV,
    SetupError,
    base_python,
    make_installer,
    output,
    uv,
    works,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OLDEST, NEWEST = (3, 11), (3, 13)
CHASSIS = ROOT / "libs" / "chassis"

NO_PYTHON = """\
Python 3.11, 3.12 or 3.13 is needed, and none was found (this is Python {version}).
Install one (apt install python3.11-venv, brew install python@3.13, pyenv install 3.12) and make
sure that it is on the PATH, or name it: make PYTHON=/path/to/python3.12 ..."""


class Environment:
    """One virtual environment and its requirement files."""

    def __init__(self, name: str, folder: Path, venv: Path, dev: bool) -> None:
        """``folder`` has the requirement files and is the installer's working directory."""
        self.name = name
        self.folder = folder
        self.venv = venv
        self.dev = dev

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.venv / "bin" / "python"

    def sources(self, dev: bool) -> list[Path]:
        """Return the requirement files for running or for development."""
        kind = "requirements-dev.txt" if dev else "requirements.txt"
        if self.venv != TOOLS:
            return [self.folder / kind]
        files = [ROOT / "local" / "requirements.txt"] + ([ROOT / kind] if dev else [])
        return [path for path in files if path.exists()]

    def fingerprint(self, dev: bool) -> str:
        """Return a hash that changes if the environment must be rebuilt or the checkout moved."""
        digest = hashlib.sha256(f"{dev} {ROOT} {sys.version_info[:2]} {UV}".encode())
        editable = [ROOT / "local" / "pyproject.toml", CHASSIS / "pyproject.toml"]
        for path in [*self.sources(dev), *editable]:
            digest.update(path.read_bytes() if path.exists() else b"-")
        return digest.hexdigest()

    @property
    def stamp(self) -> Path:
        """File with the fingerprint of the installed environment."""
        return self.venv / ".made-from"

    def is_current(self) -> bool:
        """Return whether the environment is up to date, for running or for development."""
        try:
            made_from = self.stamp.read_text(encoding="ascii")
        except OSError:
            return False
        kinds = [True] if self.dev else [True, False]
        return made_from in map(self.fingerprint, kinds) and self.python.exists()

    def make(self, report: Reporter) -> None:
        """Create or update the environment."""
        started = time.monotonic()
        if self.venv != TOOLS and not works(self.python):
            shutil.rmtree(self.venv, ignore_errors=True)
            uv(["venv", "--quiet", "--python", base_python(), str(self.venv)], self.folder)
        with contextlib.suppress(FileNotFoundError):
            self.stamp.unlink()
        requirements = [part for path in self.sources(self.dev) for part in ("-r", str(path))]
        if self.venv == TOOLS:
            extra = "dev" if self.dev else "all"
            install = ["install", *requirements, "-e", f"./local[{extra}]"]
        else:
            # The file pins every package, so no resolution is needed. Manually installed packages
            # are kept.
            install = ["install", "--no-deps", *requirements]
        uv(["pip", *install, "--python", str(self.python)], self.folder)
        self.stamp.write_text(self.fingerprint(self.dev), encoding="ascii")
        report(self.name, time.monotonic() - started)


class Reporter:
    """Prints one line for each environment that is ready."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __call__(self, name: str, seconds: float) -> None:
        """Print that an environment is ready."""
        with self._lock:
            print(f"  {name:<32} ready  {seconds:5.1f} s", flush=True)


def service_folders() -> list[Path]:
    """Return the services: top-level folders with pinned requirements."""
    found = [path.parent for path in ROOT.glob("*/requirements.in")]
    return sorted(path for path in found if (path / "requirements.txt").exists())


def environments(names: Sequence[str], dev: bool) -> list[Environment]:
    """Return the environments with these folder names, or all."""
    folders = service_folders()
    if dev and (CHASSIS / "requirements-dev.txt").exists():
        folders = [CHASSIS, *folders]
    every = [Environment(".venv (tools and launcher)", ROOT, TOOLS, dev)]
    every += [
        Environment(f"{folder.relative_to(ROOT)}/venv", folder, folder / "venv", dev)
        for folder in folders
    ]
    if not names:
        return every
    chosen = []
    for name in names:
        found = [env for env in every if name.strip("/") in (env.folder.name, env.venv.name)]
        if not found:
            known = ", ".join(env.folder.name for env in every[1:])
            raise SetupError(f"There is no environment for {name!r}. Known: {known}.")
        chosen += found
    return chosen


def make_all(wanted: Sequence[Environment]) -> None:
    """Build outdated environments, the tools first, which fill the installer's cache."""
    todo = [env for env in wanted if not env.is_current()]
    if not todo:
        return
    print("Setting up environments (only when requirements have changed):", flush=True)
    report = Reporter()
    make_installer(report)
    first = [env for env in todo if env.venv == TOOLS]
    for env in first:
        env.make(report)
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda env: env.make(report), [env for env in todo if env not in first]))


def _choose_python() -> str | None:
    """Return the interpreter for the environments, or None if no suitable one is installed.

    The interpreter of ``.venv`` comes first, so that the version does not change. Then this one,
    then any other that starts (a pyenv shim may exist but fail).
    """
    if sys.prefix == str(TOOLS):
        return sys.executable
    names = ["python3.13", "python3.12", "python3.11", "python3"]
    versions = os.path.expanduser("~/.pyenv/versions")
    paths = [str(TOOLS / "bin" / "python"), sys.executable]
    paths += [path for path in (shutil.which(name) for name in names) if path]
    paths += sorted(glob.glob(f"{versions}/3.1[123].*/bin/python"), reverse=True)
    for path in paths:
        version = output([path, "-c", SHOW_VERSION]).strip()
        if version in [f"3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]:
            return path
    return None


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Hold a lock, so that two setups do not run at the same time."""
    handle = os.open(str(ROOT / "local"), os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def main() -> int:
    """Parse the command line and create the environments. Print a failure as one sentence."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="folders of services; default: all")
    parser.add_argument("--dev", action="store_true", help="include packages for tests and checks")
    arguments = parser.parse_args()
    python = _choose_python()
    if python is None:
        version = "{}.{}.{}".format(*sys.version_info[:3])
        print(NO_PYTHON.format(version=version), file=sys.stderr)
        return 1
    if python != sys.executable:
        os.execv(python, [python, *sys.argv])  # noqa: S606 - an interpreter found above
    try:
        with _one_at_a_time():
            make_all(environments(arguments.names, arguments.dev))
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
