"""All words of the catalogue, which tell whose words have something in the midst of them.

No index finds "amp" in "lamp". But there are far fewer words than products, and they are looked
through here; products are then found by whole words, which have an index.
"""

import math
import time
from collections.abc import Awaitable, Callable, Collection

from chassis.request_coalescing import SharedAnswers

_FRESH = 5.0  # seconds after which words that came by other replicas are known, too


class Vocabulary:
    """What `read` said a short while ago, and what this process has stored since.

    Args:
        read: all words that some product has.
        seconds: for reading them, after which `containing` raises TimeoutError.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Collection[str]]],
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._seconds = seconds
        self._reading = SharedAnswers(self._read_anew)
        self._words: Collection[str] = ()
        self._stored: set[str] = set()
        self._read_at = -math.inf

    def add(self, words: Collection[str]) -> None:
        """A product with these words has just been stored."""
        self._stored.update(words)

    async def containing(self, part: str) -> set[str]:
        """The words that have `part` somewhere, itself included where it is one."""
        if self._clock() - self._read_at > _FRESH:
            await self._reading.answer(None, self._seconds)
        return {word for words in (self._words, self._stored) for word in words if part in word}

    async def _read_anew(self, _: None) -> None:
        if self._clock() - self._read_at <= _FRESH:
            return  # who waited for the reading before has its words, and what was stored meanwhile
        began, before = self._clock(), self._stored
        self._stored = set()  # what is stored from here on, the answer may not know
        try:
            self._words = frozenset(await self._read())
        except BaseException:
            self._stored |= before
            raise
        self._read_at = began
