"""What may go wrong between a service and its broker, and what a handler may say of a message.

A handler that returns has handled its message. `Refused` says that this message can never pass,
`DependencyDown` that nothing can pass at present; anything else that it raises may heal by itself.
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


class BrokerUnavailable(DependencyDown):
    """The broker did not acknowledge a record in time. It may have it all the same: send again."""


class Unsendable(Exception):
    """A record that no broker will ever take: too large, or not text in UTF-8."""


class NotConsuming(Exception):
    """Readiness: the consumer has not joined its group, or has left it after too many failures."""
