"""Which dead letters a command is about, decided before anything is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleet.errors import FleetError
from fleet.tools.dead_letters.done import Done
from fleet.tools.dead_letters.letter import Address, Letter, place_of

_PREVIEW = 20


@dataclass(frozen=True)
class Choice:
    """What a person asked for; empty means all."""

    places: frozenset[tuple[int, int]] = frozenset()
    error: str = ""
    group: str = ""

    @classmethod
    def of(cls, places: Sequence[str], error: str = "", group: str = "") -> Choice:
        """``places`` as ``partition:offset``; what is none is a clear error."""
        return cls(frozenset(map(place_of, places)), error, group)

    def fits(self, letter: Letter) -> bool:
        """Whether it is one of those."""
        place = (letter.address.partition, letter.address.offset)
        return (
            (not self.places or place in self.places)
            and self.error in ("", letter.error_class)
            and self.group in ("", letter.group)
        )


@dataclass
class Plan:
    """The letters to act on, and those that are left out with the reason."""

    chosen: dict[Address, str] = field(default_factory=dict)
    """Each with the group that it goes to; of a letter that is dropped, the empty text."""
    preview: list[Letter] = field(default_factory=list)
    """The first of them, without their values."""
    left_out: Counter[str] = field(default_factory=Counter)

    def consider(
        self, letter: Letter, choice: Choice, closed: Mapping[Address, Done], to: str | None
    ) -> None:
        """Take a letter in, or note why not. ``to`` is None when it is to be dropped."""
        if not choice.fits(letter):
            return
        done = closed.get(letter.address)
        group = "" if to is None else to or letter.group
        why = "" if to is None else letter.cannot_be_replayed(group)
        if done is not None:
            self.left_out[f"{done.state} already"] += 1
        elif why:
            self.left_out[why] += 1
        else:
            self.chosen[letter.address] = group
            if len(self.preview) < _PREVIEW:
                self.preview.append(letter.without_value())

    def require_all(self, choice: Choice, seen: set[tuple[int, int]]) -> None:
        """Refuse when a letter that was named is not there."""
        missing = sorted(choice.places - seen)
        if missing:
            places = ", ".join(f"{partition}:{offset}" for partition, offset in missing)
            raise FleetError(f"There is no dead letter at {places}. See: make dlq")
