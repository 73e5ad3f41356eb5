"""An external server that replaces an embedded one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass

from fleet.errors import FleetError


@dataclass(frozen=True)
class External:
    """A server that the user has named: its part's name, address, variable and preparation."""

    name: str
    host: str
    port: int
    variable: str
    prepare: Callable[[], None] | None = None

    def reach(self) -> None:
        """Check that the server accepts connections, then run the preparation."""
        try:
            socket.create_connection((self.host, self.port), timeout=5).close()
        except OSError as error:
            raise FleetError(
                f"{self.variable} names {self.host}:{self.port}, which cannot be reached: {error}"
            ) from error
        if self.prepare is not None:
            self.prepare()
