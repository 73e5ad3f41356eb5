"""Which suites to test and which images to build: all, or what a change concerns.

python3 local/changed.py                    everything
python3 local/changed.py --since <commit>   what has changed since HEAD left that commit

It prints `suites=[...]` and `images=[...]`, the form in which GitHub's workflows take a job's
outputs. Whatever path is not known here concerns everything: a rule that is missing costs
minutes, never a test. `make check` is not asked for: it always runs.
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

FLEET = {"tests", "judge"}  # what only the whole fleet shows; mutants are planted in services
DOCUMENTS = {"local", "tests"}  # the suites that hold documents to what is there


def everything() -> tuple[set[str], set[str]]:
    """All suites and all images."""
    return {suite.name for suite in suites()}, {folder.name for folder in service_folders()}


def concerned(paths: Iterable[str]) -> tuple[set[str], set[str]]:
    """The suites and the images that a change of these paths concerns."""
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
    """The paths that HEAD has changed since it left ``commit``; None where that is not known.

    A renamed file counts at both places. A first push names a commit of zeros, a forced one a
    commit that is gone.
    """
    command = ["git", "diff", "--name-only", "--no-renames", "-z", f"{commit}...HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{commit or 'no commit'}: {done.stderr.strip()}", file=sys.stderr)
        return None
    return [path for path in done.stdout.split("\0") if path]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both lists; always 0, for what is not known is everything."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--since", default="", help="a commit; everything without")
    since = parser.parse_args(arguments).since
    paths = changed_since(since) if since else None
    chosen, images = everything() if paths is None else concerned(paths)
    print(f"suites={json.dumps(sorted(chosen))}")
    print(f"images={json.dumps(sorted(images))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
