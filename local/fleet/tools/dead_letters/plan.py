"""Select the dead letters that a replay or drop will process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fleet.errors import FleetError
from fleet.tools.dead_letters.dead_letter import Address, DeadLetter, place_of
from fleet.tools.dead_letters.outcomes import Outcome

_PREVIEW = 20


@dataclass(frozen=True)
class Choice:
    """The filters of a command. An empty filter selects all."""

    places: frozenset[tuple[int, int]] = frozenset()
    error: str = ""
    group: str = ""

    @classmethod
    def parse(cls, places: Sequence[str], error: str = "", group: str = "") -> Choice:
        """``places`` are ``partition:offset``; raise ``FleetError`` for an invalid one."""
        return cls(frozenset(map(place_of, places)), error, group)

    def fits(self, letter: DeadLetter) -> bool:
        """Return whether all filters match."""
        place = (letter.address.partition, letter.address.offset)
        return (
            (not self.places or place in self.places)
            and self.error in ("", letter.error_class)
            and self.group in ("", letter.group)
        )


@dataclass
class Plan:
    """The selected dead letters, and the number left out for each reason."""

    chosen: dict[Address, str] = field(default_factory=dict)
    """Address → consumer group of the replay; empty for a drop."""
    preview: list[DeadLetter] = field(default_factory=list)
    """The first selected dead letters, without values."""
    left_out: Counter[str] = field(default_factory=Counter)

    def consider(
        self, letter: DeadLetter, choice: Choice, closed: Mapping[Address, Outcome], to: str | None
    ) -> None:
        """Select a dead letter or count it as left out.

        ``to`` is the group of the replay, empty for the original group, None for a drop.
        """
        if not choice.fits(letter):
            return
        done = closed.get(letter.address)
        group = "" if to is None else to or letter.group
        obstacle = "" if to is None else letter.cannot_be_replayed(group)
        if done is not None:
            self.left_out[f"{done.state} already"] += 1
        elif obstacle:
            self.left_out[obstacle] += 1
        else:
            self.chosen[letter.address] = group
            if len(self.preview) < _PREVIEW:
                self.preview.append(letter.without_value())

    def require_all(self, choice: Choice, seen: set[tuple[int, int]]) -> None:
        """Raise ``FleetError`` if a named dead letter does not exist."""
        missing = sorted(choice.places - seen)
        if missing:
            places = ", ".join(f"{partition}:{offset}" for partition, offset in missing)
            raise FleetError(f"There is no dead letter at {places}. See: make dlq")
