"""Who is calling, and what they may do with whose orders."""

from dataclasses import dataclass

from app.errors import Forbidden, Unauthenticated
from chassis.security.token_verifier import Identity

ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """The bearer of a verified token, or, where AUTH_REQUIRED is false, somebody without one.

    Without a token nothing is enforced: that is for the service's own port on one machine. With
    one, everybody but an admin is held to the orders of their own e-mail address.
    """

    identity: Identity | None = None

    @property
    def _free(self) -> bool:
        return self.identity is None or ADMIN in self.identity.roles

    def require_admin(self) -> None:
        if not self._free:
            raise Forbidden("This needs the role admin.")

    def require_own(self, email: str) -> None:
        """Refuse whoever is neither an admin nor the owner of this address.

        The token's is in lower case already, A to Z alone: lowered once more, one with a Kelvin
        sign would be that of somebody with a `k`.

        Args:
            email: an order's, ASCII in any case.
        """
        if self._free:
            return
        assert self.identity is not None  # noqa: S101  else free
        if self.identity.email != email.lower():
            raise Forbidden("This order is somebody else's.")

    def require_email(self) -> str:
        """The caller's own address, for what is about the caller alone."""
        if self.identity is None:
            raise Unauthenticated(Unauthenticated.example)
        if not self.identity.email:
            raise Forbidden("The token names no verified e-mail address.")
        return self.identity.email

    def principal(self, email: str) -> str:
        """Whose Idempotency-Key this is: the token's subject, else the order's address."""
        if self.identity is not None:
            return f"sub:{self.identity.subject}"
        return f"email:{email.lower()}"
