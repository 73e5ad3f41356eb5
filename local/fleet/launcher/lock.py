"""One command at a time may start or stop the fleet."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from fleet.errors import Busy


@contextlib.contextmanager
def exclusive(state: Path) -> Iterator[None]:
    """Hold the fleet's lock or refuse with a sentence; the system frees it when the holder dies."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("Another command is starting or stopping this fleet.") from None
        yield
