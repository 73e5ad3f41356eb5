"""Earlier contracts: every state of a contract in the history of the main branch.

The file in the work tree is no baseline, because a change could edit it with the code.
"""

from __future__ import annotations

import subprocess
from functools import cached_property
from pathlib import Path

_MAIN = ("origin/main", "main")
_FOLDER = "contracts"


class History:
    """The history of the main branch up to the merge base of a checkout.

    Intermediate commits of a merged branch do not count, only the merge result.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.base = self._base()
        """The last commit whose contracts are binding; empty without Git."""

    def whole(self) -> bool:
        """Whether the history is complete, not a shallow clone."""
        return bool(self.base) and self._git("rev-parse", "--is-shallow-repository") == "false"

    def states(self, path: str) -> list[str]:
        """Return all contents of a contract file, newest first."""
        return [self._git("cat-file", "blob", each) for each in self._blobs.get(path, {})]

    @cached_property
    def _blobs(self) -> dict[str, dict[str, None]]:
        """By path, the ids of its contents; a line is ``:... <old> <new> M<tab><path>``."""
        if not self.base:
            return {}
        options = ("--format=", "--raw", "--no-abbrev", "--no-renames", "--diff-filter=AM")
        of_main = ("--first-parent", "-m")
        found: dict[str, dict[str, None]] = {}
        for line in self._git("log", *options, *of_main, self.base, "--", _FOLDER).splitlines():
            facts, _, path = line.partition("\t")
            if facts:
                found.setdefault(path, {})[facts.split(" ")[3]] = None
        return found

    def _base(self) -> str:
        for main in _MAIN:
            if base := self._git("merge-base", "HEAD", main):
                return base
        return self._git("rev-parse", "--verify", "--quiet", "HEAD")

    def _git(self, *arguments: str) -> str:
        """Return the output of a Git command; empty on failure."""
        command = ["git", "-C", str(self._root), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return ""
        return done.stdout.strip("\n") if done.returncode == 0 else ""
