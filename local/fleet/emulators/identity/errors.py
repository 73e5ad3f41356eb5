"""OAuth error responses."""


class Refused(Exception):
    """An error response of the token endpoint; clients branch on ``error``."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description
