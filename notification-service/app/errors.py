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
