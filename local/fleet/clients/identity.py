"""Client of an identity provider, embedded or Keycloak. Uses the standard library only."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from fleet.clients.local_http import open_url
from fleet.errors import FleetError
from fleet.processes.runner import Runner
from fleet.servers.identity import REALM, IdentityServer

CLIENT = "storefront"
_SPARE_SECONDS = 60.0
"""Minimum remaining lifetime of a cached token."""


class IdentityProvider:
    """One provider: its addresses, and tokens of its demo users."""

    def __init__(self, url: str, runner: Runner[IdentityServer] | None = None) -> None:
        """``url`` is the address for browsers; ``runner`` controls an embedded provider."""
        self.issuer = f"{url.rstrip('/')}/realms/{REALM}"
        self._runner = runner
        self._cached: dict[str, tuple[float, str]] = {}

    @property
    def endpoints(self) -> str:
        """Base URL of the OpenID Connect endpoints."""
        return f"{self.issuer}/protocol/openid-connect"

    @property
    def jwks_url(self) -> str:
        """URL of the signing keys (JWKS)."""
        return f"{self.endpoints}/certs"

    def token(self, user: str) -> str:
        """Return an access token of a demo user. Reuse it until shortly before it expires."""
        expires_at, token = self._cached.get(user, (0.0, ""))
        if time.time() > expires_at - _SPARE_SECONDS:
            answer = self.log_in(user, user)
            token = answer["access_token"]
            self._cached[user] = (time.time() + answer["expires_in"], token)
        return token

    def log_in(self, user: str, password: str) -> dict[str, Any]:
        """Log in with a password; return the token response."""
        form = {"grant_type": "password", "client_id": CLIENT}
        data = urllib.parse.urlencode(form | {"username": user, "password": password}).encode()
        request = urllib.request.Request(f"{self.endpoints}/token", data)  # noqa: S310 - our own URL
        try:
            with open_url(request, timeout=30) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise FleetError(_refusal(error, user)) from error
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", error)
            raise FleetError(
                f"No identity provider answers at {self.issuer} ({why}). Start the fleet: make up"
            ) from error
        if not isinstance(answer, dict) or "access_token" not in answer:
            raise FleetError(f"The server at {self.issuer} is not an identity provider.")
        return answer

    def stop(self) -> None:
        """Stop the provider: logins and requests for keys fail."""
        self._own().stop()

    def start(self) -> None:
        """Start it again on the same port, with the same keys and without sessions."""
        self._own().start()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._own().kill()

    def pause(self) -> None:
        """Send SIGSTOP: connections are accepted, requests get no answer."""
        self._own().pause()

    def resume(self) -> None:
        """Send SIGCONT after ``pause``."""
        self._own().resume()

    def _own(self) -> Runner[IdentityServer]:
        if self._runner is None:
            raise FleetError("This identity provider is external; the fleet cannot stop it.")
        return self._runner


def _refusal(error: urllib.error.HTTPError, user: str) -> str:
    try:
        said = json.load(error)
    except ValueError:
        said = {}
    if said.get("error") == "invalid_grant":
        return (
            f"The identity provider refused {user!r}: {said.get('error_description')}. "
            "The demo's users are alice, bob and admin, each with the name as the password; "
            "another password is p=..."
        )
    return f"The identity provider answered {error.code}: {said or error.reason}"
