"""The mailbox as a program of the fleet: runs ``python -m fleet.emulators.mailbox``."""

from __future__ import annotations

import http.client
import importlib.util
import os
import socket
import sys
from pathlib import Path

from fleet.errors import FleetError, NotReady
from fleet.processes.program import HOST, Command, Port, Program


class MailboxServer(Program):
    """An SMTP server that stores mails in memory and shows them on a web page."""

    def __init__(self, state: Path, smtp: Port, http_port: Port, most: str | None = None) -> None:
        """``state`` is the fleet's state folder, ``most`` the number of stored mails."""
        super().__init__("mailbox", [smtp, http_port])
        self._root = state
        self._most = {"MAILBOX_MAX": most} if most else {}

    @property
    def smtp_port(self) -> int:
        """The SMTP port."""
        return self.ports[0].number

    @property
    def http_port(self) -> int:
        """The port of the web page and the API."""
        return self.ports[1].number

    @property
    def url(self) -> str:
        """Address of the web page and the API."""
        return f"http://{HOST}:{self.http_port}"

    def prepare(self, log: Path) -> None:
        """Check that the packages are installed."""
        if importlib.util.find_spec("aiosmtpd") is None:
            raise FleetError("The mailbox is not installed: pip install 'fleet[mail]'")
        self._root.mkdir(parents=True, exist_ok=True)

    def command(self) -> Command:
        """Run the module with its two ports."""
        argv = [sys.executable, "-m", "fleet.emulators.mailbox"]
        argv += ["--smtp-port", str(self.smtp_port), "--http-port", str(self.http_port)]
        return Command(argv, {**os.environ, **self._most, "PYTHONUNBUFFERED": "1"}, self._root)

    def check(self) -> None:
        """Read the SMTP greeting and request the page's readiness."""
        try:
            with socket.create_connection((HOST, self.smtp_port), timeout=2) as connection:
                greeting = connection.recv(256)
            page = http.client.HTTPConnection(HOST, self.http_port, timeout=2)
            page.request("GET", "/readyz")
            status = page.getresponse().status
            page.close()
        except (OSError, http.client.HTTPException) as error:
            raise NotReady(f"{type(error).__name__}: {error}") from error
        if not greeting.startswith(b"220") or status != 200:
            raise NotReady(f"SMTP said {greeting!r}, the page {status}")
