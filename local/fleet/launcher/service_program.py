"""Run a service as a process of the fleet: interpreter, migrations, health checks."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fleet.errors import FleetError, NotReady
from fleet.launcher.migrations import is_current
from fleet.processes.program import HOST, Command, Port, Program

_NOT_INHERITED = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")


class ServiceProgram(Program):
    """One service, started with the interpreter of the environment in its own folder."""

    def __init__(
        self,
        name: str,
        port: Port,
        folder: Path,
        env: Mapping[str, str],
        *,
        migrations: bool,
        own_server: bool = False,
    ) -> None:
        """``env`` is the complete environment, including addresses."""
        super().__init__(name, [port])
        self.folder = folder
        self._python = folder / "venv" / "bin" / "python"
        self._env = {key: value for key, value in env.items() if key not in _NOT_INHERITED}
        self._env["PYTHONUNBUFFERED"] = "1"
        self._migrations = migrations
        self._own_server = own_server

    @property
    def url(self) -> str:
        """The service's own address."""
        return f"http://{HOST}:{self.port}"

    @property
    def has_environment(self) -> bool:
        """Whether the virtual environment exists."""
        return self._python.exists()

    def prepare(self, log: Path) -> None:
        """Migrate the database before the service starts.

        The migrations hold an advisory lock, so replicas can start at the same time.
        """
        versions = self.folder / "migrations" / "versions"
        if not self._migrations or is_current(versions, self._env["DATABASE_URL"]):
            return
        with log.open("ab") as output:
            done = subprocess.run(
                [str(self._python), "-m", "alembic", "upgrade", "head"],
                cwd=self.folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
            tail = "\n".join(f"    {line}" for line in lines)
            raise FleetError(f"{self.name}: its migrations failed. The end of its log:\n{tail}")

    def command(self) -> Command:
        """Return the uvicorn command. A shutdown waits up to 8 seconds for running requests."""
        address = ("--host", HOST, "--port", str(self.port))
        if self._own_server:
            argv = [str(self._python), "-m", "app", *address]
        else:
            argv = [
                *(str(self._python), "-m", "uvicorn", "app.main:app"),
                *(
                    *address,
                    "--http",
                    "chassis.app.graceful_shutdown:DrainingProtocol",
                    "--loop",
                    "uvloop",
                ),
                *("--no-access-log", "--no-proxy-headers", "--timeout-graceful-shutdown", "8"),
            ]
        return Command(argv, self._env, self.folder)

    def check(self) -> None:
        """Require the status UP from ``GET /health``."""
        status, answer = self.ask("/health")
        if status != 200 or answer.get("status") != "UP":
            raise NotReady(f"/health answered {status}")

    def dependencies(self) -> dict[str, Any]:
        """Return the dependencies of /health/ready: name → status and error."""
        _, answer = self.ask("/health/ready")
        found = answer.get("dependencies")
        return found if isinstance(found, dict) else {}

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        """GET a path; return status and JSON object, raise ``NotReady`` on failure."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotReady(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        return response.status, answer if isinstance(answer, dict) else {}
