"""Derive the schedule of faults from a seed. The same seed gives the same schedule.

Pure functions without access to the fleet.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.fleet_under_test import SERVICES


class Fault(StrEnum):
    """Types of faults; `--faults` selects some."""

    KILL = "kill"  # SIGKILL, restart after `seconds`
    TERMINATE = "terminate"  # SIGTERM and restart, as in a rolling restart
    FAILPOINT = "failpoint"  # SIGKILL at a failpoint in the code
    PAUSE = "pause"  # SIGSTOP for `seconds`
    SLOW = "slow"  # data to and from the part is delayed for `seconds`
    CUT = "cut"  # no connection to the part for `seconds`
    DROP = "drop"  # replies are lost after the request was processed
    REPEAT = "repeat"  # events are published again
    POISON = "poison"  # invalid messages are published
    MAIL = "mail"  # the mail server refuses or delays mails, or loses its reply


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
"""Failpoints by service: every crash point of docs/guarantees.md."""

MARKER = "REFUSE-THIS"  # the fault `content-refused` refuses mails with this word
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

`content-refused` makes a mail undeliverable and `lost-reply` may duplicate one. All others delay
mails until the fault ends.
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
_FIRST, _LAST = 2.0, 4.0  # no fault in the first and last seconds of a run
_GAP = (1.0, 4.0)  # seconds between the starts of two faults


@dataclass(frozen=True, slots=True)
class Surface:
    """The parts of a fleet in which faults can be injected.

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
    """A planned fault.

    Attributes:
        at: seconds after the start of the run.
        part: the affected part; for events, the topic.
        seconds: duration, or time until the process is restarted.
        detail: name of the failpoint, delay in seconds, number of replies or messages, or name of
            the mail fault.
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
    """Return the faults of one run in order. Faults of the same part do not overlap.

    Args:
        duration: seconds of load.
        faults: fault types; those that the surface does not support are omitted.
    """
    rng = random.Random(f"faults {seed}")
    possible = [fault for fault in faults if _parts(fault, surface)]
    planned: list[Planned] = []
    busy: dict[str, float] = {}
    at = _FIRST
    while possible and at < duration - _LAST:
        fault = rng.choices(possible, [_WEIGHTS[each] for each in possible])[0]
        parts = [part for part in _parts(fault, surface) if busy.get(part, 0.0) <= at]
        if parts:
            one = _plan_one(rng, at, fault, rng.choice(parts), duration)
            planned.append(one)
            busy[one.part] = at + one.seconds + 2.0
        at += rng.uniform(*_GAP)
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


def _plan_one(rng: random.Random, at: float, fault: Fault, part: str, duration: float) -> Planned:
    rest = max(1.0, duration - _LAST - at)
    match fault:
        case Fault.FAILPOINT:
            return Planned(at, fault, part, min(6.0, rest), rng.choice(PLACES[part]))
        case Fault.PAUSE:
            long = part.startswith("order-service") and rng.random() < 0.25
            seconds = _LONG_PAUSE if long else rng.uniform(0.5, 6.0)
            return Planned(at, fault, part, min(seconds, rest))
        case Fault.SLOW:
            late = f"{rng.choice((0.02, 0.1, 0.3)):.2f}"
            return Planned(at, fault, part, min(rng.uniform(2.0, 6.0), rest), late)
        case Fault.CUT:
            return Planned(at, fault, part, min(rng.uniform(0.5, 5.0), rest))
        case Fault.DROP:
            return Planned(at, fault, part, min(4.0, rest), str(rng.randint(1, 5)))
        case Fault.MAIL:
            seconds = min(rng.uniform(4.0, 15.0), rest)
            return Planned(at, fault, part, seconds, rng.choice(list(MAIL_FAULTS)))
        case Fault.REPEAT | Fault.POISON:
            return Planned(at, fault, part, 0.0, str(rng.randint(1, 5)))
        case _:
            return Planned(at, fault, part, min(rng.uniform(0.0, 2.5), rest))
