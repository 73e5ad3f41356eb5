"""Refusals in OAuth's shape."""


class Refused(Exception):
    """An answer of the token endpoint that is no token; callers branch on ``error``."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description
