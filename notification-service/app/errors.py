"""Errors of mail delivery. Their messages are logged, so they contain no addresses."""

from chassis.kafka.errors import DependencyDown, Refused, RetryLater


class RecipientRefused(Refused):
    """The recipient can never get this mail: a dead letter."""


class MailRejected(Refused):
    """The server refuses this mail's content, or its policy forbids the mail: a dead letter."""


class MailDeferred(RetryLater):
    """The server does not accept this mail now: it follows its own retry schedule."""


class MailServerDown(DependencyDown):
    """No mail can be sent at present: no connection, no login, or a pause before the next probe."""


class MailServerRefused(RetryLater):
    """The server refused this mail, and would refuse every other: a state of the server.

    Args:
        climb: the mails to this recipient may be the cause, so their delay grows.
    """

    def __init__(self, summary: str, *, climb: bool) -> None:
        super().__init__(summary, climb=climb, expires=False)


class ReplyLost(RetryLater):
    """The content was handed over and no reply came: another attempt may double the mail."""

    def __init__(self, summary: str) -> None:
        super().__init__(summary, bounded=True)
