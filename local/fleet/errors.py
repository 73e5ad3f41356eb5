"""What can go wrong in ways a person can act on: each error is the sentence that they read."""


class FleetError(Exception):
    """An expected failure; its text says what happened and what to do, and is all that is shown."""


class NotReady(Exception):
    """A program does not answer its health check (yet); the text says how it failed."""


class Busy(FleetError):
    """Another command has the fleet's lock; a moment later it may be free."""


class Died(FleetError):
    """A process ended although it should run."""

    def __init__(self, name: str, log_tail: str) -> None:
        """Keep the log's tail, which is what the reader needs first."""
        super().__init__(f"{name} has died. The end of its log:\n{log_tail}")
        self.name = name
