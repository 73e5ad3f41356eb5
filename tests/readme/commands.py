"""The commands of README.md: fenced shell blocks, and inline commands."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tests.fleet_under_test import ROOT

README = (ROOT / "README.md").read_text("utf-8")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FENCE_LINE = re.compile(r"^```.*$", re.MULTILINE)
_INLINE = re.compile(
    r"`((?:[A-Z_]+=\S+ )?(?:make|docker|curl|pre-commit|python3?|venv/\S+)(?: [^`]+)?)`"
)
_COMMENT = re.compile(r"(?:^|\s+)# .*$", re.MULTILINE)
_ADDRESS = re.compile(r"localhost:(\d{4,5})")
_DEFAULT_PORT = re.compile(r"^#(\w+_PORT)=(\d+)$", re.MULTILINE)

PORT_VARIABLES = {
    int(port): variable
    for variable, port in _DEFAULT_PORT.findall((ROOT / ".env.example").read_text("utf-8"))
}
"""Default port → the variable that changes it."""


@dataclass(frozen=True)
class Block:
    """A fenced shell block: its first line and its text."""

    line: int
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines without comments; a continued command counts as several lines."""
        lines = (_COMMENT.sub("", line).strip() for line in self.text.splitlines())
        return [line for line in lines if line]

    def script(self, ports: Mapping[str, int], instead: Mapping[str, str]) -> str:
        """Return the script for bash: the block with other ports and replaced commands.

        Raises:
            KeyError: the block contains a port that is not in `.env.example`.
        """
        lines = self.text.splitlines()
        lines = [instead.get(_COMMENT.sub("", line).strip(), line) for line in lines]
        return _ADDRESS.sub(
            lambda found: f"localhost:{ports[PORT_VARIABLES[int(found[1])]]}", "\n".join(lines)
        )


def blocks(text: str = README) -> list[Block]:
    """Return the shell blocks in order."""
    return [
        Block(text.count("\n", 0, found.start()) + 1, found[2])
        for found in _FENCE.finditer(text)
        if found[1] in ("sh", "bash", "shell", "console")
    ]


def inline_commands(text: str = README) -> set[str]:
    """Return the commands between backticks in text and comments."""
    return set(_INLINE.findall(_FENCE_LINE.sub("", text)))
