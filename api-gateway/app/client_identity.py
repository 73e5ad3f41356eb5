"""Who a request is counted for, and whose token it carries."""

import ipaddress
from dataclasses import dataclass

from chassis.security.token_verifier import Identity


@dataclass(slots=True)
class Caller:
    """Somebody at the door.

    Attributes:
        address: the peer's, or what a trusted proxy says (uvicorn has seen to that).
        identity, token: None where there is no valid token.
    """

    address: str
    identity: Identity | None = None
    token: str | None = None

    @property
    def key(self) -> str:
        """What they are counted by: the token's subject, else the address."""
        if self.identity is not None:
            return f"sub:{self.identity.subject}"
        return f"ip:{_network(self.address)}"


def _network(address: str) -> str:
    """An IPv6 host has 2**64 addresses to call from: they count as one."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False))
