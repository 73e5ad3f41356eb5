"""A service as a program of the fleet: its own interpreter, its migrations, its health."""

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
        """``env`` is the whole environment, addresses included."""
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
        """Whether its virtual environment has been made."""
        return self._python.exists()

    def prepare(self, log: Path) -> None:
        """Bring the database up to date, in a step of its own before the service starts.

        Its advisory lock makes that safe when several are started at once.
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
        """Serve the app with uvicorn, which has 8 seconds to finish requests when it must stop."""
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
        """GET /health."""
        status, answer = self.ask("/health")
        if status != 200 or answer.get("status") != "UP":
            raise NotReady(f"/health answered {status}")

    def dependencies(self) -> dict[str, Any]:
        """The table of /health/ready: name → state and, if it is not UP, the error."""
        _, answer = self.ask("/health/ready")
        found = answer.get("dependencies")
        return found if isinstance(found, dict) else {}

    def ask(self, path: str) -> tuple[int, dict[str, Any]]:
        """GET one path of the service as JSON; raises ``NotReady`` when there is no such answer."""
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
