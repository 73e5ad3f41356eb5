"""Client of a mailbox with Mailpit's API. Uses the standard library only."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any

from fleet.clients.local_http import open_url
from fleet.errors import FleetError
from fleet.processes.runner import Runner, wait_until
from fleet.servers.mailbox import MailboxServer

Message = dict[str, Any]


class Mailbox:
    """One mailbox, embedded or Mailpit."""

    def __init__(
        self,
        smtp_host: str,
        smtp_port: int,
        url: str,
        runner: Runner[MailboxServer] | None = None,
    ) -> None:
        """``url`` is the web page; ``runner`` controls an embedded mailbox."""
        self.smtp_host = smtp_host
        self.smtp_port = smtp_port
        self.url = url.rstrip("/")
        self._runner = runner

    def messages(self, query: str = "", limit: int = 10_000) -> list[Message]:
        """Return summaries, newest first: all, or those matching a search such as ``to:alice``."""
        parameters = {"limit": str(limit)} | ({"query": query} if query else {})
        path = "/api/v1/search" if query else "/api/v1/messages"
        found = self._call("GET", f"{path}?{urllib.parse.urlencode(parameters)}")
        messages: list[Message] = found["messages"]
        return messages

    def message(self, mail_id: str) -> Message:
        """Return one mail with ``Text`` and ``HTML``."""
        found: Message = self._call("GET", f"/api/v1/message/{mail_id}")
        return found

    def headers(self, mail_id: str) -> dict[str, list[str]]:
        """Return all headers of one mail."""
        found: dict[str, list[str]] = self._call("GET", f"/api/v1/message/{mail_id}/headers")
        return found

    def wait_for(self, predicate: Callable[[Message], bool], timeout: float = 30.0) -> Message:
        """Wait for a mail whose summary satisfies ``predicate``; return the newest in full."""
        found: list[Message] = []

        def arrived() -> bool:
            found.extend(message for message in self.messages() if predicate(message))
            return bool(found)

        if not wait_until(arrived, timeout):
            subjects = [message["Subject"] for message in self.messages()]
            raise AssertionError(f"no such mail within {timeout:.0f} s; mailbox: {subjects}")
        return self.message(found[0]["ID"])

    def clear(self) -> None:
        """Delete all mails."""
        self._call("DELETE", "/api/v1/messages")

    def set_faults(self, *faults: dict[str, Any]) -> None:
        """Replace the scripted SMTP faults (``emulators.mailbox.faults``); none clears them."""
        self._call("PUT", "/api/v1/faults", faults)

    def faults(self) -> list[dict[str, Any]]:
        """Return the scripted faults, each with ``hits``, the number of its uses."""
        found: list[dict[str, Any]] = self._call("GET", "/api/v1/faults")
        return found

    def stop(self) -> None:
        """Stop the mailbox: connections are refused and its mails are lost."""
        self._own().stop()

    def start(self) -> None:
        """Start it again on the same ports, empty."""
        self._own().start()

    def pause(self) -> None:
        """Send SIGSTOP: connections are accepted, requests get no answer."""
        self._own().pause()

    def resume(self) -> None:
        """Send SIGCONT after ``pause``."""
        self._own().resume()

    def _own(self) -> Runner[MailboxServer]:
        if self._runner is None:
            raise FleetError("This mailbox is external; the fleet cannot stop it.")
        return self._runner

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - our own URL
            self.url + path, data, {"Content-Type": "application/json"}, method=method
        )
        with open_url(request, timeout=10) as response:
            content = response.read()
        return json.loads(content) if content.startswith((b"{", b"[")) else None
