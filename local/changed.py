"""Select the test suites and images that a change affects.

python3 local/changed.py                    all
python3 local/changed.py --since <commit>   affected by changes since the merge base

Prints `suites=[...]` and `images=[...]`, the format of job outputs in GitHub workflows. A path
without a rule affects everything. `make check` always runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Sequence

from bootstrap import service_folders
from installer import ROOT
from run_tests import suites

FLEET = {"tests", "judge"}  # suites that test all services together, including mutants
DOCUMENTS = {"local", "tests"}  # suites that check documents


def everything() -> tuple[set[str], set[str]]:
    """Return all suites and all images."""
    return {suite.name for suite in suites()}, {folder.name for folder in service_folders()}


def concerned(paths: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the suites and images that a change of these paths affects."""
    services = {folder.name for folder in service_folders()}
    chosen: set[str] = set()
    images: set[str] = set()
    for path in paths:
        top, _, rest = path.partition("/")
        if path.endswith(".md") or top == "docs":
            chosen |= DOCUMENTS
        elif top in services:
            chosen |= {top} | FLEET
            images |= set() if rest.startswith("tests/") else {top}
        elif top == "tests":
            chosen |= FLEET
        else:
            return everything()
    return chosen, images


def changed_since(commit: str) -> list[str] | None:
    """Return the paths changed since the merge base with ``commit``; None if it is unknown.

    A renamed file counts with both paths. The first push of a branch passes a commit of zeros, a
    forced push a commit that no longer exists.
    """
    command = ["git", "diff", "--name-only", "--no-renames", "-z", f"{commit}...HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{commit or 'no commit'}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return [path for path in done.stdout.split("\0") if path]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both lists. Return 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--since", default="", help="a commit; default: everything")
    since = parser.parse_args(arguments).since
    paths = changed_since(since) if since else None
    chosen, images = everything() if paths is None else concerned(paths)
    print(f"suites={json.dumps(sorted(chosen))}")
    print(f"images={json.dumps(sorted(images))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
