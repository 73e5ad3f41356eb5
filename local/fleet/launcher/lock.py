"""The fleet's lock: one command at a time starts or stops parts."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from fleet.errors import Busy


@contextlib.contextmanager
def exclusive(state: Path) -> Iterator[None]:
    """Hold the fleet's lock; raise ``Busy`` if another command holds it."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("Another command is starting or stopping this fleet.") from None
        yield
