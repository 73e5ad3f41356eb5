"""Split streamed text into sentences, and remove markup."""

import html
import re
from dataclasses import dataclass

import nh3

_END = re.compile(r"(?<=[.!?…])[\"')\]*»”]*\s+|\n+")


@dataclass(slots=True)
class Sentences:
    """Split streamed text into sentences, each with its trailing white space."""

    _rest: str = ""

    def feed(self, piece: str) -> list[str]:
        """Add a piece. Return the sentences that it completes."""
        self._rest += piece
        found = []
        while match := _END.search(self._rest):
            if match.end() == len(self._rest):
                break  # more white space, or a closing bracket, may follow
            found.append(self._rest[: match.end()])
            self._rest = self._rest[match.end() :]
        return found

    def rest(self) -> str:
        """Return the incomplete sentence at the end of the stream."""
        rest, self._rest = self._rest, ""
        return rest


def plain(text: str) -> str:
    """Remove tags and resolve entities; keep trailing white space."""
    if "<" not in text and "&" not in text:
        return text
    body = text.rstrip()
    return html.unescape(nh3.clean(body, tags=set())) + text[len(body) :]
