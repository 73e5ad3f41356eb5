"""All words of the catalogue, for searches by a part of a word.

No database index finds "amp" in "lamp". There are far fewer words than products, so the words are
scanned here, and the products are then found by whole words, which are indexed.
"""

import math
import time
from collections.abc import Awaitable, Callable, Collection

from chassis.request_coalescing import SharedAnswers

_FRESH = 5.0  # seconds until words stored by other replicas are read


class Vocabulary:
    """A TTL cache of all words, plus the words that this process has stored since the last read.

    Args:
        read: returns the words of all products.
        seconds: timeout of a read, after which `containing` raises TimeoutError.
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
        self._reading = SharedAnswers(self._refresh)
        self._words: Collection[str] = ()
        self._stored: set[str] = set()
        self._read_at = -math.inf

    def add(self, words: Collection[str]) -> None:
        """Add the words of a stored product."""
        self._stored.update(words)

    async def containing(self, part: str) -> set[str]:
        """Return the words that contain `part`."""
        if self._clock() - self._read_at > _FRESH:
            await self._reading.answer(None, self._seconds)
        return {word for words in (self._words, self._stored) for word in words if part in word}

    async def _refresh(self, _: None) -> None:
        if self._clock() - self._read_at <= _FRESH:
            return  # the previous read, for which this caller waited, is recent enough
        began, before = self._clock(), self._stored
        self._stored = set()  # words stored during the read may be missing in its result
        try:
            self._words = frozenset(await self._read())
        except BaseException:
            self._stored |= before
            raise
        self._read_at = began
