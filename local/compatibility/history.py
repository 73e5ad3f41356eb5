"""What was promised: every state of a contract that the history of main holds.

Not the file in the work tree: whoever changes that by hand would change the promise with the code.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

_MAIN = ("origin/main", "main")


class History:
    """The history that a checkout has of main, up to where its own branch left it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.base = self._base()
        """The commit up to which everything is a promise; empty where there is no git."""

    def whole(self) -> bool:
        """Whether nothing of it was left out when it was fetched."""
        return bool(self.base) and self._git("rev-parse", "--is-shallow-repository") == "false"

    def states(self, path: str) -> list[str]:
        """Every content that a file has had, newest first."""
        if not self.base:
            return []
        listed = self._git("log", "--format=%H", "--diff-filter=AM", self.base, "--", path)
        texts = [self._git("show", f"{commit}:{path}") for commit in listed.split()]
        return list(dict.fromkeys(texts))

    def paths(self, folder: str) -> list[str]:
        """Every file that a folder has held."""
        if not self.base:
            return []
        options = ("--format=", "--name-only", "--diff-filter=A")
        return sorted(set(self._git("log", *options, self.base, "--", folder).split("\n")) - {""})

    def _base(self) -> str:
        if not self._git("rev-parse", "--verify", "--quiet", "HEAD"):
            return ""
        for main in _MAIN:
            if base := self._git("merge-base", "HEAD", main):
                return base
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str) -> str:
        """Its answer; empty where it has none, and where there is no git."""
        command = ["git", "-C", str(self._root), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return ""
        return done.stdout.strip("\n") if done.returncode == 0 else ""
