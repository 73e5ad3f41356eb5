"""The state of the provider: realm, keys, sessions, codes."""

from __future__ import annotations

from dataclasses import dataclass, field

from fleet.emulators.identity.keys import Keys
from fleet.emulators.identity.realm import Realm
from fleet.emulators.identity.sessions import Codes, Sessions


@dataclass
class Provider:
    """One provider; ``origin`` is scheme, host and port for browsers."""

    realm: Realm
    keys: Keys
    origin: str
    codes: Codes = field(default_factory=Codes)
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        """Start without sessions."""
        self.sessions = Sessions(self.realm.idle_seconds, self.realm.longest_seconds)

    @property
    def path(self) -> str:
        """Path prefix of the realm."""
        return f"/realms/{self.realm.name}"

    @property
    def issuer(self) -> str:
        """``iss`` of every token, independent of the request's host."""
        return self.origin + self.path

    @property
    def endpoints(self) -> str:
        """Base URL of the OpenID Connect endpoints."""
        return f"{self.issuer}/protocol/openid-connect"
