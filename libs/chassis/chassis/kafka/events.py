"""The envelope that every event carries. Payload fields stand flat beside it.

A producer derives its own event classes from `Event`; a consumer keeps its own tolerant model of
what it reads, derived from `Envelope`. The golden samples in contracts/ hold both sides together.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field


def _in_utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


class Envelope(BaseModel):
    """What a consumer requires of any event. Fields that it does not know are ignored.

    Nothing has a default here: an event without an id could never be told from its own repeat.
    A derived class narrows `event_type` to a `Literal`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    event_id: UUID
    event_type: str
    event_version: Literal[1]
    timestamp: Annotated[AwareDatetime, AfterValidator(_in_utc)]


class Event(Envelope):
    """What a producer makes: id and time are of the moment unless they are given.

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
        """The message's value: JSON in UTF-8, `timestamp` in RFC 3339 with Z, money as numbers.

        Raises:
            ValueError: a text holds what UTF-8 cannot (a lone surrogate).
        """
        return self.model_dump_json().encode()
