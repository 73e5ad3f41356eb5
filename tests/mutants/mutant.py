"""A mutant: replaced texts, the promises that the defect breaks, and the test that must fail."""

from __future__ import annotations

from dataclasses import dataclass


class CodeMoved(Exception):
    """A mutant's text is not exactly once in its file: update the mutant to the code."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement of one text. `file` is relative to the repository's root."""

    file: str
    text: str
    by: str

    def applied(self, source: str) -> str:
        """Return the source with the defect."""
        found = source.count(self.text)
        if found != 1:
            raise CodeMoved(
                f"{self.file} has this text {found} times, not once. The code has moved: update"
                f" the mutant.\n{self.text}"
            )
        return source.replace(self.text, self.by)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A realistic defect.

    Attributes:
        name: short description, used by `make mutants m=`.
        promises: the promises of tests/README.md that it breaks.
        suite: the folder whose environment and tests are used.
        test: pytest id, relative to that folder, of the cheapest test that must fail.
        edits: replacements that together make the defect.
    """

    name: str
    promises: tuple[int, ...]
    suite: str
    test: str
    edits: tuple[Edit, ...]
