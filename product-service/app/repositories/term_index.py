"""Index of all words of the catalogue, for searches in the middle of a word.

No MongoDB index finds "amp" in "lamp". There are far fewer words than products, so the words are
searched in memory, and products are then found by whole words, which have an index.
"""

import math
import time
from collections.abc import Awaitable, Callable, Collection

from chassis.request_coalescing import QueryCoalescer

_MAX_AGE = 5.0  # seconds after which the words that other replicas stored are read


class TermIndex:
    """The words of the last read, and the words that this process has stored since.

    Args:
        read: returns the words of all products.
        timeout: seconds for reading; after this `containing` raises TimeoutError.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Collection[str]]],
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._clock = clock
        self._timeout = timeout
        self._refresh = QueryCoalescer(self._read_words)
        self._words: Collection[str] = ()
        self._stored: set[str] = set()
        self._read_at = -math.inf

    def add(self, words: Collection[str]) -> None:
        """Add the words of a product that has just been stored."""
        self._stored.update(words)

    async def containing(self, part: str) -> set[str]:
        """Return the words that contain `part`."""
        if self._clock() - self._read_at > _MAX_AGE:
            await self._refresh.get(None, self._timeout)
        return {word for words in (self._words, self._stored) for word in words if part in word}

    async def _read_words(self, _: None) -> None:
        if self._clock() - self._read_at <= _MAX_AGE:
            return  # a caller that waited for the read before has its words, and those stored since
        started_at, before = self._clock(), self._stored
        self._stored = set()  # the read may miss what is stored from here on
        try:
            self._words = frozenset(await self._read())
        except BaseException:
            self._stored |= before
            raise
        self._read_at = started_at
