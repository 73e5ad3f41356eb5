"""The envelope fields of every event. Payload fields are at the same level.

A producer derives its events from `Event`, a consumer its tolerant models from `Envelope`. Contract
tests check both against the golden samples in contracts/.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


class Envelope(BaseModel):
    """The fields that a consumer requires of any event. Unknown fields are ignored.

    No field has a default: an event without an id could not be deduplicated. A derived class
    narrows `event_type` to a `Literal`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: UUID
    event_type: str
    event_version: Literal[1]
    timestamp: Annotated[AwareDatetime, AfterValidator(_in_utc)]


class Event(Envelope):
    """An event to publish, with a new id and the current time by default.

    class OrderPlaced(Event):
        event_type: Literal["ORDER_PLACED"] = "ORDER_PLACED"
        order_id: UUID
        total_amount: Money
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_id: UUID = Field(default_factory=uuid4)
    event_version: Literal[1] = 1
    timestamp: Annotated[AwareDatetime, AfterValidator(_in_utc)] = Field(
        default_factory=lambda: datetime.now(UTC)
    )

    def to_bytes(self) -> bytes:
        """Return JSON in UTF-8, with `timestamp` in RFC 3339 with Z, and money as numbers.

        Raises:
            ValueError: a text contains a lone surrogate.
        """
        return self.model_dump_json().encode()
