"""Who is logged in, and the codes that are under way; both in memory, and bounded.

A client that logs in for ever pushes out the oldest; a restart forgets all.
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
    """The latest so many by name."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, T] = OrderedDict()

    def put(self, name: str, value: T) -> None:
        """Keep a value; the oldest goes when there are too many."""
        self._kept[name] = value
        if len(self._kept) > self._limit:
            self._kept.popitem(last=False)

    def get(self, name: str) -> T | None:
        """A value by its name."""
        return self._kept.get(name)

    def take(self, name: str) -> T | None:
        """A value by its name, for the last time."""
        return self._kept.pop(name, None)


@dataclass
class Session:
    """One login, which refresh tokens and the browser's cookie prolong."""

    user: User
    began: float
    used: float
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def cookie(self) -> str:
        """What the browser carries; the id alone, which stands in every token, opens nothing."""
        return f"{self.id}.{self.secret}"


class Sessions:
    """All logins."""

    def __init__(self, idle_seconds: float, longest_seconds: float, now: Clock = time.time) -> None:
        self._idle = idle_seconds
        self._longest = longest_seconds
        self._now = now
        self._kept: Recent[Session] = Recent(MOST_SESSIONS)

    def begin(self, user: User) -> Session:
        """Log somebody in."""
        now = self._now()
        session = Session(user, began=now, used=now)
        self._kept.put(session.id, session)
        return session

    def find(self, session_id: str) -> Session | None:
        """A login that has neither ended nor expired."""
        session = self._kept.get(session_id)
        if session is None:
            return None
        now = self._now()
        if now > session.used + self._idle or now > session.began + self._longest:
            self._kept.take(session_id)
            return None
        return session

    def use(self, session: Session) -> None:
        """Begin the idle time anew."""
        session.used = self._now()

    def of_cookie(self, cookie: str | None) -> Session | None:
        """The login that a browser's cookie names."""
        session = self.find((cookie or "").partition(".")[0])
        return session if session is not None and same(session.cookie, cookie or "") else None

    def end(self, session_id: str) -> None:
        """Log out; ending what has ended is no error."""
        self._kept.take(session_id)


@dataclass(frozen=True)
class Code:
    """What the login page promised to whom; good once, for a minute."""

    session_id: str
    client_id: str
    redirect_uri: str
    challenge: str
    scope: str
    nonce: str
    from_cookie: bool
    issued: float


class Codes:
    """The codes under way."""

    def __init__(self, now: Clock = time.time) -> None:
        self._now = now
        self._kept: Recent[Code] = Recent(MOST_CODES)
        self._used: Recent[Code] = Recent(MOST_CODES)

    @property
    def now(self) -> float:
        """The time that codes are dated with."""
        return self._now()

    def issue(self, code: Code) -> str:
        """Keep a code; returns what the browser carries back."""
        name = f"{secrets.token_urlsafe(24)}.{code.session_id}"
        self._kept.put(name, code)
        return name

    def redeem(self, name: str) -> Code | None:
        """The code, used up by this very look, whatever comes of it."""
        code = self._kept.take(name)
        if code is None:
            return None
        self._used.put(name, code)
        return code if self._now() <= code.issued + CODE_SECONDS else None

    def used(self, name: str) -> Code | None:
        """A code that somebody has redeemed before: who comes second, or came first, stole it."""
        return self._used.get(name)
