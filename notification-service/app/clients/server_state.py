"""The state of the mail server: open, or closed until the next probe."""

import time
from collections.abc import Callable

from app.errors import MailServerDown, MailServerRefused
from chassis.backoff import RetryPolicy

_UNREACHABLE = RetryPolicy(backoff=0.5, backoff_max=5.0)
_REFUSING = RetryPolicy(backoff=1.0, backoff_max=30.0)  # quota, throttling, login
_REJECTING = RetryPolicy(backoff=1.0, backoff_max=4.0)
_RUN = 5  # recipients in a row whose mails are rejected
_SHORT = 1.0  # longest wait in seconds that a mail spends in its place in the queue


class ServerState:
    """Counts the refusals in a row and decides when the next mail may be tried.

    While it is closed all mails wait; the first mail after the wait is the probe. A mail that was
    refused moves to its retry topic, so each probe is another mail: a refusal that is about one
    recipient after all cannot keep the state closed. For the same reason the mails to the recipient
    that closed the state do not wait for it, and cannot lengthen the wait.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_until = 0.0
        self._connection = True
        self._suspect = ""
        self._rejected: set[str] = set()
        self.reason = ""
        """Why mails wait; empty while the server accepts them."""

    @property
    def may_try(self) -> bool:
        """False during a wait."""
        return self._clock() >= self._closed_until

    def seconds_until_try(self, recipient: str) -> float:
        """Return after how many seconds a mail to this recipient may be tried, at most 1.

        Raises:
            MailServerDown: all mails wait for longer.
            MailServerRefused: the last refusal was about this recipient; other mails need not wait
                behind this one.
        """
        if self.may_try:
            return 0.0
        if recipient == self._suspect:
            raise MailServerRefused(self.reason, climb=False)
        seconds = self._closed_until - self._clock()
        if seconds > _SHORT:
            raise MailServerDown(self.reason)
        return seconds

    def unreachable(self, reason: str) -> None:
        """Note that no connection was possible."""
        self._close(reason, _UNREACHABLE, "")

    def login_refused(self, reason: str) -> None:
        """Note that the server refused the greeting, TLS or the login."""
        self._close(reason, _REFUSING, "")

    def connected(self) -> None:
        """Note a connection with login, which ends only the failures to get one."""
        if self._connection:
            self._open()

    def refused(self, reason: str, recipient: str) -> bool:
        """Note that the server refused a mail for a reason of its own.

        Returns:
            True if the refusal before it was for the same recipient.
        """
        return self._close(reason, _REFUSING, recipient)

    def rejected(self, reason: str, recipient: str) -> bool:
        """Note that the server rejected a mail for its content or by policy.

        Returns:
            True if it has rejected mails to so many recipients in a row that the reason is probably
            the account: the state is closed then.
        """
        self._rejected.add(recipient)
        if len(self._rejected) < _RUN:
            return False
        self._close(reason, _REJECTING, recipient)
        return True

    def accepted(self) -> None:
        """Note that the server accepted a mail."""
        self._open()
        self._rejected.clear()

    def _open(self) -> None:
        self._failures = 0
        self._closed_until = 0.0
        self._connection = True
        self._suspect = ""
        self.reason = ""

    def _close(self, reason: str, policy: RetryPolicy, recipient: str) -> bool:
        same = bool(recipient) and recipient == self._suspect
        if not same:
            self._failures += 1
        self._connection = not recipient
        self._suspect = recipient
        self._closed_until = self._clock() + policy.delay(self._failures)
        self.reason = reason
        return same
