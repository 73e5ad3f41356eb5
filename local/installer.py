"""Run pip and uv, and explain their failures.

Used by bootstrap.py: standard library only, and syntax of Python 3.8.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".venv"
UV = "uv==0.13.9"
SHOW_VERSION = "import sys; print('{}.{}'.format(*sys.version_info[:2]))"
_UV_BINARY = TOOLS / "bin" / "uv"

NO_VENV = """\
This Python cannot create virtual environments: its venv module is missing.
On Debian and Ubuntu install the package: apt install python{version}-venv"""

NO_NETWORK = """\
The packages could not be downloaded. Check the network connection and the proxy (HTTPS_PROXY), or
name a mirror that this machine reaches: PIP_INDEX_URL=https://.../simple make setup
The last output of the installer:
{output}"""

_UNREACHABLE = (
    "failed to fetch",
    "failed to download",
    "error sending request",
    "dns error",
    "connection refused",
    "connection reset",
    "network is unreachable",
    "newconnectionerror",
    "temporary failure in name resolution",
    "could not connect",
    "timed out",
    "from versions: none",
)


class SetupError(Exception):
    """A failed setup. The text tells the user what to do."""


def make_installer(report: Callable[[str, float], None]) -> None:
    """Create ``.venv`` with pip and the pinned uv. Call ``report`` with the seconds it took."""
    python, started = TOOLS / "bin" / "python", time.monotonic()
    if works(python) and UV.partition("==")[2] in output([str(_UV_BINARY), "--version"]):
        return
    if not works(python):
        shutil.rmtree(TOOLS, ignore_errors=True)
        made = _run([base_python(), "-m", "venv", str(TOOLS)], ROOT)
        if made.returncode != 0:
            shutil.rmtree(TOOLS, ignore_errors=True)
            missing = any(word in made.stdout for word in ("ensurepip", "No module named venv"))
            version = "{}.{}".format(*sys.version_info[:2])
            raise SetupError(NO_VENV.format(version=version) if missing else made.stdout)
    command = [str(python), "-m", "pip", "install", "--quiet", "--retries", "2", UV]
    _check(_run([*command, "--disable-pip-version-check"], ROOT))
    report(f".venv with {UV}", time.monotonic() - started)


def uv(arguments: Sequence[str], cwd: Path) -> None:
    """Run uv. Show its output only if it fails."""
    _check(_run([str(_UV_BINARY), *arguments], cwd))


def _check(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode == 0:
        return
    tail = "\n".join(done.stdout.strip().splitlines()[-15:])
    if any(sign in done.stdout.lower() for sign in _UNREACHABLE):
        raise SetupError(NO_NETWORK.format(output=tail))
    raise SetupError(f"{' '.join(done.args)} failed:\n{tail}")


def _run(command: Sequence[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(command),
        cwd=str(cwd),
        env=installer_env(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def installer_env() -> dict[str, str]:
    """Return the environment of pip and uv, with pip's variables translated for uv."""
    env = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    env["UV_PYTHON_DOWNLOADS"] = "never"
    for pip_name, uv_name in (
        ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"),
        ("PIP_EXTRA_INDEX_URL", "UV_INDEX"),
        ("PIP_FIND_LINKS", "UV_FIND_LINKS"),
        ("PIP_CERT", "SSL_CERT_FILE"),
    ):
        if pip_name in env:
            env.setdefault(uv_name, env[pip_name])
    return env


def works(python: Path) -> bool:
    """Return whether an interpreter exists, starts, and has this script's version."""
    expected = "{}.{}".format(*sys.version_info[:2])
    return python.exists() and output([str(python), "-c", SHOW_VERSION]).strip() == expected


def output(command: Sequence[str]) -> str:
    """Return the output of a program; empty if it cannot run."""
    try:
        return subprocess.run(
            list(command), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        ).stdout.decode()
    except OSError:
        return ""


def base_python() -> str:
    """Return the base interpreter, because virtual environments must not nest."""
    base = getattr(sys, "_base_executable", None) or sys.executable
    return str(base)
