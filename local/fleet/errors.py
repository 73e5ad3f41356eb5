"""Expected failures. The text of each error tells the user what to do."""


class FleetError(Exception):
    """An expected failure. The CLI prints only its text: what happened and what to do."""


class NotReady(Exception):
    """A program does not answer its health check. The text gives the reason."""


class Busy(FleetError):
    """Another command holds the fleet's lock."""


class Died(FleetError):
    """A process exited unexpectedly."""

    def __init__(self, name: str, log_tail: str) -> None:
        """Put the last log lines into the message."""
        super().__init__(f"{name} has died. The end of its log:\n{log_tail}")
        self.name = name
