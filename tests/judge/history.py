"""What the customers did and what they were told: one attempt for each request.

After Jepsen's histories (github.com/jepsen-io/jepsen): an attempt is invoked, and ends as
`ok` (it is done), `refused` (it is certain that nothing was done) or `unknown` (it may be done).
"""

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any


class Outcome(StrEnum):
    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class Kind(StrEnum):
    PLACE = "place"
    CANCEL = "cancel"
    SHIP = "ship"
    DELIVER = "deliver"
    RESTOCK = "restock"
    LIST = "list"
    READ = "read"
    SPY = "spy"  # reading another customer's order


@dataclass(slots=True)
class Attempt:
    """One request.

    Attributes:
        invoked, ended: seconds since the trial began.
        status: of the answer; 0 where none came.
        problem: the `type` of a problem document.
        wish: what the customer wanted, once, however many attempts it took: the name on the order.
        order_id: the order that was answered or acted on.
        body: of a 201, to compare it with its repeats'.
        owners: whose orders an answer showed.
    """

    kind: Kind
    caller: str
    invoked: float
    ended: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    status: int = 0
    problem: str = ""
    wish: str = ""
    key: str = ""
    pieces: dict[str, int] = field(default_factory=dict)
    order_id: str = ""
    body: str = ""
    owners: list[str] = field(default_factory=list)

    @property
    def took(self) -> float:
        """Seconds."""
        return self.ended - self.invoked


@dataclass(slots=True)
class History:
    """All attempts in the order of their ends; written down at once where `file` is set, so that
    nothing is lost with the judge itself."""

    attempts: list[Attempt] = field(default_factory=list)
    file: Path | None = None

    def add(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(attempt)) + "\n")

    def of(self, *kinds: Kind) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.kind in kinds]

    def wishes(self) -> dict[str, list[Attempt]]:
        """The attempts to place each wished order."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self.of(Kind.PLACE):
            found.setdefault(attempt.wish, []).append(attempt)
        return found


def outcome_of(status: int, problem: str, kind: Kind) -> Outcome:
    """What an answer means, by contracts.

    A 503 to a placed order says that no order stands. No answer, 502, 504 and `outcome-unknown` may
    mean either; so does any 5xx to a change that is not undone by itself.
    """
    if 200 <= status < 300:
        return Outcome.OK
    if status == 0 or status in (500, 502, 504) or problem.endswith("/outcome-unknown"):
        return Outcome.UNKNOWN
    if status == 503 and kind in (Kind.CANCEL, Kind.SHIP, Kind.DELIVER, Kind.RESTOCK):
        return Outcome.UNKNOWN  # a COMMIT whose answer was lost is told as 503 there
    return Outcome.REFUSED


def loaded(path: Path) -> History:
    """A history from its file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return History([_attempt(json.loads(line)) for line in lines])


def _attempt(fields: dict[str, Any]) -> Attempt:
    kind, outcome = Kind(fields.pop("kind")), Outcome(fields.pop("outcome"))
    return Attempt(kind=kind, outcome=outcome, **fields)
