"""Scripted SMTP faults: what the mailbox refuses, delays or drops, set over its HTTP API.

The first fault that matches a command decides its reply. Without a match the mailbox accepts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Stage = Literal["connect", "helo", "auth", "mail", "rcpt", "data"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "greylisting": {
        "stage": "rcpt",
        "reply": "450 4.7.1 Greylisted, try again later",
        "greylist_seconds": 20.0,
    },
    "quota": {"stage": "data", "reply": "550 5.4.5 Daily user sending limit exceeded"},
    "throttling": {"stage": "data", "reply": "454 4.7.0 Too many messages, slow down"},
    "busy": {"stage": "mail", "reply": "421 4.7.0 Try again later, closing connection"},
    "server-full": {"stage": "mail", "reply": "452 4.3.1 Insufficient system storage"},
    "mailbox-full": {"stage": "rcpt", "reply": "452 4.2.2 Mailbox full"},
    "mailbox-over-quota": {"stage": "data", "reply": "552 5.2.2 Mailbox over quota"},
    "content-refused": {
        "stage": "data",
        "reply": "554 5.7.1 Message content rejected",
        "marker": "REFUSE-THIS",
    },
    "unknown-user": {"stage": "rcpt", "reply": "550 5.1.1 No such user here"},
    "login-refused": {"stage": "auth", "reply": "535 5.7.8 Bad credentials"},
    "connection-refused": {"stage": "connect", "reply": "554 5.7.1 No SMTP service here"},
    "helo-refused": {"stage": "helo", "reply": "550 5.7.1 Host name rejected"},
    "sender-refused": {"stage": "mail", "reply": "550 5.7.1 Sender rejected"},
    "lost-reply": {"stage": "data", "accept": True, "close": True},
    "hang-up": {"stage": "data", "close": True},
    "slow": {"stage": "data", "delay_seconds": 2.0},
}


class Fault(BaseModel):
    """One fault. `preset` names a row of PRESETS, whose values the other fields override."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: str = ""
    stage: Stage
    reply: str = Field(default="", pattern=r"^([45]\d\d [ -~]+)?$")
    close: bool = Field(default=False, description="close the connection, after the reply if any")
    accept: bool = Field(default=False, description="keep the mail before closing; data only")
    delay_seconds: float = Field(default=0.0, ge=0, description="wait before the reply")
    recipient: str = Field(default="", description="only for addresses that contain this text")
    marker: str = Field(default="", description="only for mails that contain this text; data only")
    greylist_seconds: float = Field(
        default=0.0,
        ge=0,
        description="refuse each sender and recipient this long from their first attempt",
    )
    duration_seconds: float | None = Field(default=None, gt=0, description="then it ends by itself")
    times: int | None = Field(default=None, ge=1, description="it ends after so many refusals")

    @model_validator(mode="before")
    @classmethod
    def _fill_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not values.get("preset"):
            return values
        preset = PRESETS.get(values["preset"])
        if preset is None:
            raise ValueError(f"unknown preset; there are: {', '.join(PRESETS)}")
        return {**preset, **values}

    @model_validator(mode="after")
    def _check(self) -> Fault:
        if not (self.reply or self.close or self.delay_seconds):
            raise ValueError("a fault needs a reply, close or delay_seconds")
        if (self.accept or self.marker) and self.stage != "data":
            raise ValueError("accept and marker are for the stage data")
        if self.accept and (self.reply or not self.close):
            raise ValueError("accept needs close, and no reply")
        if self.recipient and self.stage not in ("rcpt", "data"):
            raise ValueError("recipient is for the stages rcpt and data")
        if self.greylist_seconds and self.stage != "rcpt":
            raise ValueError("greylist_seconds is for the stage rcpt")
        return self


@dataclass
class _Active:
    fault: Fault
    since: float
    hits: int = 0
    first_attempts: dict[tuple[str, str], float] = field(default_factory=dict)


class Faults:
    """The active faults of one mailbox.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without faults."""
        self._clock = clock
        self._active: list[_Active] = []

    def replace(self, faults: list[Fault]) -> None:
        """Replace the active faults; an empty list clears them."""
        self._active = [_Active(fault, self._clock()) for fault in faults]

    def status(self) -> list[dict[str, Any]]:
        """Return each fault with `hits`, how often it applied, and whether it is still `active`."""
        return [
            {**each.fault.model_dump(), "hits": each.hits, "active": self._is_active(each)}
            for each in self._active
        ]

    def match(
        self,
        stage: Stage,
        sender: str = "",
        recipient: str = "",
        content: Callable[[], str] = str,
    ) -> Fault | None:
        """Return the first active fault for this command, and count it; None to accept.

        Args:
            content: returns the decoded text of the mail; called only for a fault with a marker.
        """
        for each in self._active:
            fault = each.fault
            if fault.stage != stage or not self._is_active(each):
                continue
            if fault.recipient.lower() not in recipient.lower():
                continue
            if fault.greylist_seconds:
                now = self._clock()
                first = each.first_attempts.setdefault((sender, recipient.lower()), now)
                if now - first >= fault.greylist_seconds:
                    continue
            if fault.marker and fault.marker not in content():
                continue
            each.hits += 1
            return fault
        return None

    def _is_active(self, each: _Active) -> bool:
        fault = each.fault
        if fault.times is not None and each.hits >= fault.times:
            return False
        age = self._clock() - each.since
        return fault.duration_seconds is None or age < fault.duration_seconds
