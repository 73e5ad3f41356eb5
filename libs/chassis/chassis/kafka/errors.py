"""What may go wrong between a service and its broker, and what a handler may say of a message.

A handler that returns has handled its message. `Refused` says that this message can never pass,
`RetryLater` that this message cannot pass now, `DependencyDown` that no message can pass at
present; any other error may heal by itself.
"""


class Refused(Exception):
    """This message can never be handled, by its own fault: a dead letter at once.

    Args:
        summary: becomes a header of the dead letter and a log field, so without personal data.
    """


class DependencyDown(Exception):
    """What every message needs is away. The partition waits and asks again, however long it takes.

    Args:
        summary: what is away; a log field, so without personal data.
    """


class RetryLater(Exception):
    """This message cannot be handled now, others can: it moves to a retry topic.

    Without retry topics it is a failure like any other.

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
    """The broker did not acknowledge a record in time. It may have it all the same: send again."""


class Unsendable(Exception):
    """A record that no broker will ever take: too large, or not text in UTF-8."""


class NotConsuming(Exception):
    """Readiness: the consumer has not joined its group, or has left it after too many failures."""
