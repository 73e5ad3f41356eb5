"""What a mail server may say, as nouns. Their texts go into logs and dead letters: no addresses."""

from chassis.kafka.errors import DependencyDown, Refused


class RecipientRefused(Refused):
    """The server will never take mail for this recipient: a dead letter."""


class MailServerDown(DependencyDown):
    """No mail can be sent at present: no connection, no login, no greeting, sender not accepted."""


class MailDeferred(Exception):
    """The server does not take this mail now (4xx). It may in a moment: bounded tries."""


class MailRejected(Exception):
    """The server did not take this mail's content (5xx). Many in a row mean that we are blocked."""


class AnswerLost(Exception):
    """The mail was handed over and no answer came: it may have been sent, and another try may
    double it. So the tries are bounded, or a server that is always too slow would get no end of it.
    """
