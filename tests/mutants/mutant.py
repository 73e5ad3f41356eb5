"""What a mutant is: which text becomes which, what that breaks, and the test that must say so."""

from __future__ import annotations

from dataclasses import dataclass


class CodeMoved(Exception):
    """A mutant's text is not in its file, or not once: the table must follow the code."""


@dataclass(frozen=True, slots=True)
class Edit:
    """One text of a file that becomes another. `file` is named from the top of the checkout."""

    file: str
    text: str
    by: str

    def applied(self, source: str) -> str:
        """The file with the defect in it."""
        found = source.count(self.text)
        if found != 1:
            raise CodeMoved(
                f"{self.file} has this text {found} times, not once. The code has moved: update"
                f" the mutant.\n{self.text}"
            )
        return source.replace(self.text, self.by)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A defect that somebody might really make.

    Attributes:
        name: a sentence in few words, as `make mutants m=` takes it.
        promises: the rows of tests/README.md that it breaks.
        suite: the folder whose environment and tests are used.
        test: the cheapest that must fail; pytest's id, from that folder.
        edits: all of them make the one defect.
    """

    name: str
    promises: tuple[int, ...]
    suite: str
    test: str
    edits: tuple[Edit, ...]
