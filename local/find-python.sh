#!/bin/sh
# Prints the Python to set up with. A candidate counts only if it really runs (a pyenv shim may not),
# is new enough and, if any is so, can make virtual environments. PYTHON names one by hand.

runs() { "$1" -c "$2" >/dev/null 2>&1; }

version='import sys; raise SystemExit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
complete="import ensurepip, venv; $version"

if [ -n "$PYTHON" ]; then
    candidates="$PYTHON"
else
    candidates=".venv/bin/python python3 python3.13 python3.12 python3.11 python"
fi

for wanted in "$complete" "$version"; do
    for candidate in $candidates; do
        if runs "$candidate" "$wanted"; then
            echo "$candidate"
            exit 0
        fi
    done
done

for installed in "$HOME"/.pyenv/versions/3.1[123].*/bin/python; do
    if [ -z "$PYTHON" ] && runs "$installed" "$complete"; then
        echo "$installed"
        exit 0
    fi
done

found=$(python3 --version 2>/dev/null) || found="none"
cat >&2 <<MESSAGE
Python 3.11, 3.12 or 3.13 is needed; found: ${PYTHON:-$found}.
Install one (apt install python3.11-venv, brew install python@3.13, pyenv install 3.12) and make sure
that it is on the PATH, or name it: make PYTHON=/path/to/python3.12 ...
MESSAGE
exit 1
