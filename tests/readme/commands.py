"""What README.md tells people to type: its fenced shell blocks, and commands named in its text."""

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
"""The port that a README names → the variable that moves it."""


@dataclass(frozen=True)
class Block:
    """A fenced shell block: where it begins, and what it says."""

    line: int
    text: str

    @property
    def commands(self) -> list[str]:
        """Its lines without comments; one that goes on in the next is as many entries as lines."""
        lines = (_COMMENT.sub("", line).strip() for line in self.text.splitlines())
        return [line for line in lines if line]

    def script(self, ports: Mapping[str, int], instead: Mapping[str, str]) -> str:
        """What bash is given: the block with other ports, and with other commands for some.

        Raises:
            KeyError: it names a port that `.env.example` does not know.
        """
        lines = self.text.splitlines()
        lines = [instead.get(_COMMENT.sub("", line).strip(), line) for line in lines]
        return _ADDRESS.sub(
            lambda found: f"localhost:{ports[PORT_VARIABLES[int(found[1])]]}", "\n".join(lines)
        )


def blocks(text: str = README) -> list[Block]:
    """The shell blocks, in order."""
    return [
        Block(text.count("\n", 0, found.start()) + 1, found[2])
        for found in _FENCE.finditer(text)
        if found[1] in ("sh", "bash", "shell", "console")
    ]


def named(text: str = README) -> set[str]:
    """Commands between backticks, in the running text and in comments."""
    return set(_INLINE.findall(_FENCE_LINE.sub("", text)))
