"""The caller of a request: the address and token that limits and roles apply to."""

import ipaddress
from dataclasses import dataclass

from chassis.security.token_verifier import Identity


@dataclass(slots=True)
class Caller:
    """The client of one request.

    Attributes:
        address: the peer's, or the one that a trusted proxy reports (uvicorn evaluates it).
        identity, token: None without a valid token.
    """

    address: str
    identity: Identity | None = None
    token: str | None = None

    @property
    def rate_limit_key(self) -> str:
        """The token's subject, else the address."""
        if self.identity is not None:
            return f"sub:{self.identity.subject}"
        return f"ip:{_network(self.address)}"


def _network(address: str) -> str:
    """Return the /64 network of an IPv6 address: one host has all its addresses."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
