"""What every request needs: the realm, its keys, and who is logged in."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet.emulators.identity.keys import Keys
from fleet.emulators.identity.realm import Realm
from fleet.emulators.identity.sessions import Codes, Sessions


@dataclass
class Provider:
    """One running provider; ``origin`` is the scheme, host and port that browsers use."""

    realm: Realm
    keys: Keys
    origin: str
    codes: Codes = field(default_factory=Codes)
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nobody logged in."""
        self.sessions = Sessions(self.realm.idle_seconds, self.realm.longest_seconds)

    @property
    def path(self) -> str:
        """What every path of the realm begins with."""
        return f"/realms/{self.realm.name}"

    @property
    def issuer(self) -> str:
        """``iss`` of every token: fixed, whatever host a request was sent to."""
        return self.origin + self.path

    @property
    def endpoints(self) -> str:
        """What the addresses of the protocol begin with."""
        return f"{self.issuer}/protocol/openid-connect"
