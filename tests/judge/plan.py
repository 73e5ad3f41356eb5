"""The schedule of faults, drawn from a seed: the same seed breaks the same things at the same time.

Pure: nothing here touches the fleet.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.fleet_under_test import SERVICES


class Fault(StrEnum):
    """What can be done to the fleet; `--faults` names a selection."""

    KILL = "kill"  # SIGKILL, started again after `seconds`
    TERMINATE = "terminate"  # SIGTERM and a new start: a rolling restart, one part of it
    FAILPOINT = "failpoint"  # SIGKILL at a named place in the midst of its work
    PAUSE = "pause"  # SIGSTOP for `seconds`
    SLOW = "slow"  # every piece to and from the part is late for `seconds`
    CUT = "cut"  # no connection to the part for `seconds`
    DROP = "drop"  # replies of the part are lost after the work was done
    REPEAT = "repeat"  # events on the topics are published once more
    POISON = "poison"  # messages that nobody can read
    MAIL = "mail"  # the mail server refuses, delays or loses its reply


PLACES = {
    "order-service": (
        "placing.saved",
        "placing.reduced",
        "placing.confirmed",
        "placing.given_up",
        "recovery.claimed",
        "recovery.cancelled",
        "recovery.reversed",
        "cancelling.committed",
        "cancelling.reversed",
        "relay.sent",
    ),
    "inventory-service": ("write.committing", "write.committed", "relay.sent"),
    "notification-service": ("mail.accepted", "consumer.handled"),
    "ai-service": ("consumer.handled",),
}
"""Where a process may die, by service: every row of docs/order-flow.md's table."""

MARKER = "REFUSE-THIS"  # a mail with this word is refused by the fault `content-refused`
MAIL_FAULTS: Mapping[str, Mapping[str, object]] = {
    "greylisting": {"greylist_seconds": 4.0},
    "quota": {},
    "throttling": {},
    "busy": {},
    "server-full": {},
    "mailbox-full": {},
    "content-refused": {"marker": MARKER},
    "hang-up": {},
    "lost-reply": {"times": 2},
}
"""Scripted mailbox faults: presets of `fleet.emulators.mailbox.faults` and overrides.

`content-refused` makes a mail undeliverable, `lost-reply` may double one; with any other the mail
server is well again after the fault.
"""

_WEIGHTS = {
    Fault.KILL: 4,
    Fault.TERMINATE: 2,
    Fault.FAILPOINT: 8,
    Fault.PAUSE: 4,
    Fault.SLOW: 2,
    Fault.CUT: 2,
    Fault.DROP: 4,
    Fault.REPEAT: 2,
    Fault.POISON: 1,
    Fault.MAIL: 5,
}
_LONG_PAUSE = 17.0  # seconds: more than an order's lease
_FIRST, _LAST = 2.0, 4.0  # no fault in the first and last seconds of a trial
_GAP = (1.0, 4.0)  # seconds between the beginnings of two faults


@dataclass(frozen=True, slots=True)
class Surface:
    """The parts of a fleet that can be broken.

    Attributes:
        mail: the mailbox has scripted faults.
    """

    killed: Sequence[str]
    paused: Sequence[str]
    linked: Sequence[str]
    places: bool
    mail: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault.

    Attributes:
        at: seconds after the beginning of the trial.
        part: whom it befalls; a topic for events.
        seconds: how long it lasts, or until the process is started again.
        detail: the failpoint's place; seconds of delay; how many replies or messages; the mail
            fault.
    """

    at: float
    fault: Fault
    part: str
    seconds: float = 0.0
    detail: str = ""

    def __str__(self) -> str:
        extra = f" {self.detail}" if self.detail else ""
        return f"{self.fault} {self.part}{extra} ({self.seconds:.1f} s)"


def draw(
    seed: int, duration: float, surface: Surface, faults: Sequence[Fault] = tuple(Fault)
) -> list[Planned]:
    """The faults of one trial, in their order. No part has two at a time; different parts may.

    Args:
        duration: seconds of load.
        faults: which kinds; what the surface does not allow is left out.
    """
    chance = random.Random(f"faults {seed}")
    possible = [fault for fault in faults if _parts(fault, surface)]
    planned: list[Planned] = []
    busy: dict[str, float] = {}
    at = _FIRST
    while possible and at < duration - _LAST:
        fault = chance.choices(possible, [_WEIGHTS[each] for each in possible])[0]
        parts = [part for part in _parts(fault, surface) if busy.get(part, 0.0) <= at]
        if parts:
            one = _one(chance, at, fault, chance.choice(parts), duration)
            planned.append(one)
            busy[one.part] = at + one.seconds + 2.0
        at += chance.uniform(*_GAP)
    return planned


def _parts(fault: Fault, surface: Surface) -> list[str]:
    match fault:
        case Fault.KILL:
            return list(surface.killed)
        case Fault.TERMINATE:
            return [part for part in surface.killed if part.removesuffix("-2") in SERVICES]
        case Fault.FAILPOINT:
            return list(PLACES) if surface.places else []
        case Fault.PAUSE:
            return list(surface.paused)
        case Fault.SLOW | Fault.CUT | Fault.DROP:
            return list(surface.linked)
        case Fault.MAIL:
            return ["mailbox"] if surface.mail else []
        case _:
            return ["order-placed", "order-cancelled", "ai-notification-ready"]


def _one(chance: random.Random, at: float, fault: Fault, part: str, duration: float) -> Planned:
    rest = max(1.0, duration - _LAST - at)
    match fault:
        case Fault.FAILPOINT:
            return Planned(at, fault, part, min(6.0, rest), chance.choice(PLACES[part]))
        case Fault.PAUSE:
            long = part.startswith("order-service") and chance.random() < 0.25
            seconds = _LONG_PAUSE if long else chance.uniform(0.5, 6.0)
            return Planned(at, fault, part, min(seconds, rest))
        case Fault.SLOW:
            late = f"{chance.choice((0.02, 0.1, 0.3)):.2f}"
            return Planned(at, fault, part, min(chance.uniform(2.0, 6.0), rest), late)
        case Fault.CUT:
            return Planned(at, fault, part, min(chance.uniform(0.5, 5.0), rest))
        case Fault.DROP:
            return Planned(at, fault, part, min(4.0, rest), str(chance.randint(1, 5)))
        case Fault.MAIL:
            seconds = min(chance.uniform(4.0, 15.0), rest)
            return Planned(at, fault, part, seconds, chance.choice(list(MAIL_FAULTS)))
        case Fault.REPEAT | Fault.POISON:
            return Planned(at, fault, part, 0.0, str(chance.randint(1, 5)))
        case _:
            return Planned(at, fault, part, min(chance.uniform(0.0, 2.5), rest))
