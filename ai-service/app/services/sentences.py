"""A text that comes in pieces, cut into sentences and freed of markup."""

import html
import re
from dataclasses import dataclass

import nh3

_END = re.compile(r"(?<=[.!?…])[\"')\]*»”]*\s+|\n+")


@dataclass(slots=True)
class Sentences:
    """Cuts a text that comes in pieces into sentences, each with the white space behind it."""

    _rest: str = ""

    def feed(self, piece: str) -> list[str]:
        """The sentences that this piece completes."""
        self._rest += piece
        found = []
        while match := _END.search(self._rest):
            if match.end() == len(self._rest):
                break  # more white space, or a closing bracket, may follow
            found.append(self._rest[: match.end()])
            self._rest = self._rest[match.end() :]
        return found

    def rest(self) -> str:
        """What is left when no piece comes any more."""
        rest, self._rest = self._rest, ""
        return rest


def plain(text: str) -> str:
    """Without markup: tags gone, entities resolved, white space at the end kept."""
    if "<" not in text and "&" not in text:
        return text
    body = text.rstrip()
    return html.unescape(nh3.clean(body, tags=set())) + text[len(body) :]
