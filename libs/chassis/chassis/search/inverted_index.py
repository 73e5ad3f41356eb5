"""An inverted index that is updated in place."""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from chassis.search.vocabulary import Vocabulary

Slots = NDArray[np.uint32]

_EMPTY: Slots = np.array([], dtype=np.uint32)


class InvertedIndex:
    """The documents that contain a word, separately for each field.

    A document is a slot: a small number that the caller assigns, and may use again after a removal.

    Args:
        fields: number of fields of a document.
    """

    def __init__(self, fields: int) -> None:
        self.vocabulary = Vocabulary()
        self._postings: tuple[dict[str, array[int]], ...] = tuple({} for _ in range(fields))
        self._documents: dict[int, tuple[tuple[str, ...], ...]] = {}

    def __len__(self) -> int:
        return len(self._documents)

    def add(self, slot: int, words: Sequence[Iterable[str]]) -> None:
        """Add a document.

        Args:
            slot: a free slot.
            words: the words of each field; repetitions are ignored.
        """
        known = self.vocabulary.add
        document = tuple(tuple({known(word) for word in field}) for field in words)
        for postings, found in zip(self._postings, document, strict=True):
            for word in found:
                slots = postings.get(word)
                if slots is None:
                    slots = postings[word] = array("I")
                slots.append(slot)
        self._documents[slot] = document

    def remove(self, slot: int) -> None:
        """Remove a document."""
        document = self._documents.pop(slot)
        for postings, found in zip(self._postings, document, strict=True):
            for word in found:
                slots = postings[word]
                (position,) = np.flatnonzero(np.frombuffer(slots, dtype=np.uint32) == slot)
                slots[int(position)] = slots[-1]  # a posting list is not sorted
                slots.pop()
                if not slots:
                    del postings[word]
        for word in set().union(*document):
            if not any(word in postings for postings in self._postings):
                self.vocabulary.remove(word)

    def slots(self, field: int, word: str) -> Slots:
        """Return the documents that contain a word in a field, unsorted.

        The array is a view that must be released before the index is changed.
        """
        slots = self._postings[field].get(word)
        return _EMPTY if slots is None else np.frombuffer(slots, dtype=np.uint32)
