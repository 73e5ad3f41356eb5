"""Sessions and authorization codes, in memory and bounded.

Above the bound the oldest is removed. A restart removes all.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fleet.emulators.identity.realm import User, same

MOST_SESSIONS = 10_000
MOST_CODES = 1_000
CODE_SECONDS = 60.0

T = TypeVar("T")
Clock = Callable[[], float]


class Recent(Generic[T]):
    """A bounded mapping that removes its oldest entry."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, T] = OrderedDict()

    def put(self, name: str, value: T) -> None:
        """Store a value; remove the oldest above the limit."""
        self._kept[name] = value
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def get(self, name: str) -> T | None:
        """Return a value by its name."""
        return self._kept.get(name)

    def take(self, name: str) -> T | None:
        """Remove and return a value."""
        return self._kept.pop(name, None)


@dataclass
class Session:
    """One login session, extended by refresh tokens and the browser's cookie."""

    user: User
    began: float
    used: float
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def cookie(self) -> str:
        """Value of the cookie: id and secret, because tokens contain the id."""
        return f"{self.id}.{self.secret}"


class Sessions:
    """All sessions."""

    def __init__(self, idle_seconds: float, longest_seconds: float, now: Clock = time.time) -> None:
        self._idle = idle_seconds
        self._longest = longest_seconds
        self._now = now
        self._kept: Recent[Session] = Recent(MOST_SESSIONS)

    def begin(self, user: User) -> Session:
        """Start a session."""
        now = self._now()
        session = Session(user, began=now, used=now)
        self._kept.put(session.id, session)
        return session

    def find(self, session_id: str) -> Session | None:
        """Return an active session, or None."""
        session = self._kept.get(session_id)
        if session is None:
            return None
        now = self._now()
        if now > session.used + self._idle or now > session.began + self._longest:
            self._kept.take(session_id)
            return None
        return session

    def use(self, session: Session) -> None:
        """Reset the idle time."""
        session.used = self._now()

    def of_cookie(self, cookie: str | None) -> Session | None:
        """Return the session of a cookie, or None."""
        session = self.find((cookie or "").partition(".")[0])
        return session if session is not None and same(session.cookie, cookie or "") else None

    def end(self, session_id: str) -> None:
        """End a session. Idempotent."""
        self._kept.take(session_id)


@dataclass(frozen=True)
class Code:
    """An authorization code: usable once, within a minute."""

    session_id: str
    client_id: str
    redirect_uri: str
    challenge: str
    scope: str
    nonce: str
    from_cookie: bool
    issued: float


class Codes:
    """All authorization codes."""

    def __init__(self, now: Clock = time.time) -> None:
        self._now = now
        self._kept: Recent[Code] = Recent(MOST_CODES)
        self._used: Recent[Code] = Recent(MOST_CODES)

    @property
    def now(self) -> float:
        """Current time of the clock for codes."""
        return self._now()

    def issue(self, code: Code) -> str:
        """Store a code; return its value for the browser."""
        name = f"{secrets.token_urlsafe(24)}.{code.session_id}"
        self._kept.put(name, code)
        return name

    def redeem(self, name: str) -> Code | None:
        """Consume a code; return it, or None if it is unknown or expired."""
        code = self._kept.take(name)
        if code is None:
            return None
        self._used.put(name, code)
        return code if self._now() <= code.issued + CODE_SECONDS else None

    def used(self, name: str) -> Code | None:
        """Return a code that was redeemed before: a second use indicates theft."""
        return self._used.get(name)
