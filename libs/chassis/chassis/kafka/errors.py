"""Errors of the broker, and errors that an event handler raises.

A handler raises `Refused` for a message that can never be handled, `RetryLater` for one that cannot
be handled now, and `DependencyDown` when no message can be handled. Other errors are retried.
"""


class Refused(Exception):
    """This message can never be handled. It becomes a dead letter at once.

    Args:
        summary: becomes a header of the dead letter and a log field, so without personal data.
    """


class DependencyDown(Exception):
    """A dependency that all messages need is unavailable. The partition waits without a limit.

    Args:
        summary: the dependency; a log field, so without personal data.
    """


class RetryLater(Exception):
    """This message cannot be handled now, others can. It moves to a retry topic, if there is one.

    Args:
        summary: a log field and a header of the dead letter, so without personal data.
        climb: each such failure of the message lengthens the delay.
        expires: a message that fails like this for too long becomes a dead letter.
        bounded: the effect may have happened, so only a few more attempts are made.
    """

    def __init__(
        self, summary: str, *, climb: bool = True, expires: bool = True, bounded: bool = False
    ) -> None:
        super().__init__(summary)
        self.climb = climb
        self.expires = expires
        self.bounded = bounded


class BrokerUnavailable(DependencyDown):
    """The broker did not acknowledge a record in time. It may have stored the record."""


class Unsendable(Exception):
    """A record that can never be sent: too large, or not text in UTF-8."""


class NotConsuming(Exception):
    """Readiness: the consumer has not joined its group, or has left it after too many failures."""
