"""Failpoints: named places where a test crashes or stops the process.

`FAILPOINTS` names a folder. A test arms a failpoint with a file of its name in that folder, which
contains the action: `kill` (SIGKILL, like a crash) or `stop` (SIGSTOP, like a long pause). The
first process that reaches the failpoint removes the file, so that one file has one effect, however
many replicas share the folder.

The variable is for tests only and therefore in no `Settings`. It is ignored in production.
"""

import os
import signal
from functools import cache
from pathlib import Path

_ACTIONS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


@cache
def _folder() -> Path | None:
    named = os.environ.get("FAILPOINTS")
    if not named or os.environ.get("ENVIRONMENT") == "production":
        return None
    return Path(named)


def reach(place: str) -> None:
    """Crash or stop here if a test has armed this failpoint.

    Args:
        place: `component.step`, such as `relay.sent`; the step has just been done.
    """
    folder = _folder()
    if folder is None:
        return
    armed, taken = folder / place, folder / f"{place}.{os.getpid()}"
    try:
        armed.rename(taken)
    except FileNotFoundError:
        return
    os.kill(os.getpid(), _ACTIONS[taken.read_text(encoding="ascii").strip()])
