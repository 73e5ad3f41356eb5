"""Read Keycloak's realm file: clients, users, roles, lifespans."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hmac import compare_digest
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fleet.errors import FleetError

Json = Mapping[str, Any]


def same(left: str, right: str) -> bool:
    """Compare secrets in constant time."""
    return compare_digest(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))


@dataclass(frozen=True)
class User:
    """A user, or the service account of a client."""

    id: str
    username: str
    password: str | None
    roles: tuple[str, ...]
    email: str = ""
    email_verified: bool = False
    first_name: str = ""
    last_name: str = ""
    enabled: bool = True
    service_client: str = ""

    @property
    def complete(self) -> bool:
        """Whether the profile has the fields that Keycloak requires for a login."""
        return bool(self.first_name and self.last_name and self.email)


@dataclass(frozen=True)
class Client:
    """An OAuth client and its permissions."""

    id: str
    secret: str | None
    """None for a public client."""
    standard_flow: bool
    direct_grants: bool
    service_account: bool
    redirect_uris: tuple[str, ...]
    post_logout_redirect_uris: tuple[str, ...]
    web_origins: tuple[str, ...]
    audiences: tuple[str, ...]

    def may_return_to(self, uri: str) -> bool:
        """Return whether a redirect URI of the login is registered."""
        return _allowed(uri, self.redirect_uris)

    def may_return_after_logout_to(self, uri: str) -> bool:
        """Return whether a redirect URI after logout is registered."""
        return _allowed(uri, self.post_logout_redirect_uris)


@dataclass(frozen=True)
class Realm:
    """One realm file."""

    name: str
    title: str
    access_seconds: int
    idle_seconds: int
    longest_seconds: int
    clients: Mapping[str, Client]
    users: tuple[User, ...]

    @cached_property
    def _by_login(self) -> Mapping[str, User]:
        people = [user for user in self.users if not user.service_client]
        by_email = {user.email.lower(): user for user in people if user.email}
        return by_email | {user.username.lower(): user for user in people}

    def user(self, login: str) -> User | None:
        """Return a user by user name or e-mail address, ignoring case."""
        return self._by_login.get(login.lower())

    @property
    def demo_users(self) -> list[User]:
        """Return the users whose password is their name."""
        return [user for user in self.users if user.password == user.username]

    def service_user(self, client: Client) -> User | None:
        """Return the service account of a client."""
        return next((user for user in self.users if user.service_client == client.id), None)


def read_realm(path: Path) -> Realm:
    """Read a realm file; raise ``FleetError`` if it is invalid."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _realm(found)
    except OSError as error:
        raise FleetError(f"The realm file cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FleetError(f"{path} is not a realm file exported by Keycloak: {error!r}") from error


def _realm(found: Json) -> Realm:
    name = found["realm"]
    composites = {
        role["name"]: tuple(role.get("composites", {}).get("realm", ()))
        for role in found.get("roles", {}).get("realm", ())
    }
    return Realm(
        name=name,
        title=found.get("displayName") or name,
        access_seconds=found.get("accessTokenLifespan", 300),
        idle_seconds=found.get("ssoSessionIdleTimeout", 1800),
        longest_seconds=found.get("ssoSessionMaxLifespan", 36_000),
        clients={one["clientId"]: _client(one) for one in found.get("clients", ())},
        users=tuple(_user(one, name, composites) for one in found.get("users", ())),
    )


def _client(found: Json) -> Client:
    redirect_uris = tuple(found.get("redirectUris", ()))
    after_logout = found.get("attributes", {}).get("post.logout.redirect.uris", "")
    return Client(
        id=found["clientId"],
        secret=None if found.get("publicClient") else found.get("secret", ""),
        standard_flow=found.get("standardFlowEnabled", True),
        direct_grants=found.get("directAccessGrantsEnabled", False),
        service_account=found.get("serviceAccountsEnabled", False),
        redirect_uris=redirect_uris,
        post_logout_redirect_uris=(
            redirect_uris if after_logout == "+" else tuple(filter(None, after_logout.split("##")))
        ),
        web_origins=tuple(found.get("webOrigins", ())),
        audiences=tuple(
            mapper["config"]["included.custom.audience"]
            for mapper in found.get("protocolMappers", ())
            if mapper["protocolMapper"] == "oidc-audience-mapper"
            and mapper["config"].get("access.token.claim") == "true"
        ),
    )


def _user(found: Json, realm: str, composites: Mapping[str, Sequence[str]]) -> User:
    """Read a user. As in Keycloak's import, default roles apply to later users only."""
    username = found["username"]
    passwords = (one["value"] for one in found.get("credentials", ()) if one["type"] == "password")
    roles = dict.fromkeys(
        name for role in found.get("realmRoles", ()) for name in (role, *composites.get(role, ()))
    )
    return User(
        id=found.get("id") or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{realm}/{username}")),
        username=username,
        password=next(passwords, None),
        roles=tuple(roles),
        email=found.get("email", ""),
        email_verified=found.get("emailVerified", False),
        first_name=found.get("firstName", ""),
        last_name=found.get("lastName", ""),
        enabled=found.get("enabled", True),
        service_client=found.get("serviceAccountClientId", ""),
    )


def _allowed(uri: str, patterns: Sequence[str]) -> bool:
    return _is_plain(uri) and any(_matches(uri, pattern) for pattern in patterns)


def _matches(uri: str, pattern: str) -> bool:
    """Return whether the URI equals the pattern, or has its prefix before a final ``*``."""
    if not pattern.endswith("*"):
        return uri == pattern
    return uri.startswith(pattern[:-1])


def _is_plain(uri: str) -> bool:
    """Return whether a URI is unambiguous: a plain host, no user, no ``..`` in its path."""
    if not uri.isascii() or not uri.isprintable() or any(sign in uri for sign in ' \\"<>#'):
        return False
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:  # a port that is no number
        return False
    if not parts.hostname or "@" in parts.netloc or port == 0:
        return False
    return ".." not in parts.path.lower().replace("%2e", ".").split("/")
