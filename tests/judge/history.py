"""History of the run: one attempt per request, with its response.

Modelled on Jepsen's histories (github.com/jepsen-io/jepsen): an attempt is invoked, and ends as
`ok` (it took effect), `refused` (it certainly did not) or `unknown` (it may have).
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
        invoked, ended: seconds since the start of the run.
        status: status code of the response; 0 without a response.
        problem: the `type` of a problem document.
        intent: the intended order, common to all its attempts; the customer name of the order.
        order_id: the order in the response or in the request.
        body: body of a 201, to compare it with its replays.
        owners: owners of the orders in the response.
    """

    kind: Kind
    caller: str
    invoked: float
    ended: float = 0.0
    outcome: Outcome = Outcome.UNKNOWN
    status: int = 0
    problem: str = ""
    intent: str = ""
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
    """All attempts, ordered by their end. With `file`, each is written at once, so that a crash of
    the judge loses none."""

    attempts: list[Attempt] = field(default_factory=list)
    file: Path | None = None

    def add(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(attempt)) + "\n")

    def by_kind(self, *kinds: Kind) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.kind in kinds]

    def attempts_by_intent(self) -> dict[str, list[Attempt]]:
        """Return the attempts to place each intended order."""
        found: dict[str, list[Attempt]] = {}
        for attempt in self.by_kind(Kind.PLACE):
            found.setdefault(attempt.intent, []).append(attempt)
        return found


def outcome_of(status: int, problem: str, kind: Kind) -> Outcome:
    """Return the outcome that a response implies, according to the API contract.

    A 503 to a placed order means that there is no order. No response, 502, 504 and
    `outcome-unknown` leave the outcome open, and so does any 5xx to a request without compensation.
    """
    if 200 <= status < 300:
        return Outcome.OK
    if status == 0 or status in (500, 502, 504) or problem.endswith("/outcome-unknown"):
        return Outcome.UNKNOWN
    if status == 503 and kind in (Kind.CANCEL, Kind.SHIP, Kind.DELIVER, Kind.RESTOCK):
        return Outcome.UNKNOWN  # a COMMIT with a lost reply returns 503 there
    return Outcome.REFUSED


def loaded(path: Path) -> History:
    """Load a history from its file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return History([_attempt(json.loads(line)) for line in lines])


def _attempt(fields: dict[str, Any]) -> Attempt:
    kind, outcome = Kind(fields.pop("kind")), Outcome(fields.pop("outcome"))
    return Attempt(kind=kind, outcome=outcome, **fields)
