"""Named places where a test makes the process die. They exist only where FAILPOINTS names a folder.

A test arms a place by a file of its name in that folder, whose text says what happens there: `kill`
(SIGKILL, as a crash) or `stop` (SIGSTOP, as a long pause). Whoever reaches the place first takes
the file away, so that one file is one death, however many replicas share the folder.

The variable is read here and in no `Settings`: it is no setting of a service. Without it `reach`
costs one call; in production it is never looked at.
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
    """Die or stop here if a test has asked for it.

    Args:
        place: `what.step`, such as `relay.sent`: what has just been done and what follows has not.
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
