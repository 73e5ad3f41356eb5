"""Run a command until it prints a text, then interrupt it as Ctrl-C does.

python tests/readme/until_ctrl_c.py "Running until" make demo
"""

import os
import signal
import subprocess
import sys
import time

_TIMEOUT = 90.0  # seconds until the text is printed, and again until the command ends


def main(awaited: str, command: list[str]) -> int:
    """Forward the output. Return 0 if the text was printed and the command ended, else 1."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # background shells ignore SIGINT, inherited
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as running:
        signal.signal(signal.SIGALRM, lambda *_: os.killpg(running.pid, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, _TIMEOUT)
        assert running.stdout is not None
        printed = False
        for line in iter(running.stdout.readline, b""):
            sys.stdout.write(line.decode("utf-8", "replace"))
            if not printed and awaited.encode() in line:
                printed = True
                time.sleep(0.1)  # let the command enter its wait
                signal.setitimer(signal.ITIMER_REAL, _TIMEOUT)
                os.killpg(running.pid, signal.SIGINT)
        running.wait()
    return 0 if printed and running.returncode != -signal.SIGKILL else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
