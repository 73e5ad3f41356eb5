"""Authorization of the caller."""

from dataclasses import dataclass

from app.errors import Forbidden, Unauthenticated
from chassis.security.token_verifier import Identity

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The bearer of a verified token, or a caller without one if AUTH_REQUIRED is false.

    Without a token nothing is enforced, for use on one machine. With a token, only an admin may
    access the orders of another e-mail address.
    """

    identity: Identity | None = None

    @property
    def _unrestricted(self) -> bool:
        return self.identity is None or ADMIN in self.identity.roles

    def require_admin(self) -> None:
        if not self._unrestricted:
            raise Forbidden("This call needs the role admin.")

    def require_own(self, email: str) -> None:
        """Raise Forbidden unless the caller is an admin or owns the address.

        The token's address has A to Z in lower case already. It is not lowered again: str.lower()
        would turn a Kelvin sign into the `k` of another person's address.

        Args:
            email: an order's address, ASCII in any case.
        """
        if self._unrestricted:
            return
        assert self.identity is not None  # noqa: S101  else unrestricted
        if self.identity.email != email.lower():
            raise Forbidden("This order belongs to another customer.")

    def require_email(self) -> str:
        """Return the caller's address."""
        if self.identity is None:
            raise Unauthenticated(Unauthenticated.example)
        if not self.identity.email:
            raise Forbidden("The token has no verified e-mail address.")
        return self.identity.email

    def principal(self, email: str) -> str:
        """Return the owner of an Idempotency-Key: the token's subject, else the address."""
        if self.identity is not None:
            return f"sub:{self.identity.subject}"
        return f"email:{email.lower()}"
