"""Runs a command that does not end by itself until it has said something, then presses Ctrl-C.

python tests/readme/until_ctrl_c.py "Running until" make demo
"""

import os
import signal
import subprocess
import sys
import time

_PATIENCE = 90.0  # seconds until it has said it, and again until it has ended


def main(awaited: str, command: list[str]) -> int:
    """0 where it said what it should and then ended; 1 otherwise. Its output is passed on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background shell's is ignored, and inherited
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as running:
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(running.pid, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
        assert running.stdout is not None
        said = False
        for line in iter(running.stdout.readline, b""):
            sys.stdout.write(line.decode("utf-8", "replace"))
            if not said and awaited.encode() in line:
                said = True
                time.sleep(0.1)  # it has printed its last line, and is about to wait
                signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
                os.killpg(running.pid, signal.SIGINT)
        running.wait()
    return 0 if said and running.returncode != -signal.SIGKILL else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
