"""The realm's keys, stored in a file of the fleet, and the tokens signed with them.

Tokens stay valid after a restart, as in Keycloak.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey, RSAKey

from fleet.errors import FleetError

Claims = dict[str, Any]


class Keys:
    """A signing key, an unused encryption key, and a secret for refresh tokens."""

    def __init__(self, signing: RSAKey, encryption: RSAKey, refresh: OctKey) -> None:
        self._signing = signing
        self._encryption = encryption
        self._refresh = refresh

    @classmethod
    def load(cls, path: Path) -> Keys:
        """Read the keys, or create the file atomically."""
        try:
            found = json.loads(path.read_text(encoding="ascii"))
            signing, encryption = (RSAKey.import_key(found[name]) for name in ("sig", "enc"))
            return cls(signing, encryption, OctKey.import_key(found["refresh"]))
        except FileNotFoundError:
            keys = cls(_rsa_key("sig", "RS256"), _rsa_key("enc", "RSA-OAEP"), _secret())
            keys._save(path)
            return keys
        except (ValueError, KeyError, TypeError, JoseError) as error:
            raise FleetError(f"{path} contains no keys. Delete it, or run: make reset") from error

    def public_set(self) -> dict[str, Any]:
        """Return the public key set (JWKS)."""
        return {"keys": [key.as_dict(private=False) for key in (self._encryption, self._signing)]}

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Sign an access token or an ID token."""
        header = {"alg": "RS256", "typ": "JWT", "kid": self._signing.kid}
        return jwt.encode(header, dict(claims), self._signing, algorithms=["RS256"])

    def sign_refresh(self, claims: Mapping[str, Any]) -> str:
        """Sign a refresh token with a shared secret, because only this provider verifies it."""
        header = {"alg": "HS512", "typ": "JWT", "kid": self._refresh.kid}
        return jwt.encode(header, dict(claims), self._refresh, algorithms=["HS512"])

    def read(self, token: str) -> Claims | None:
        """Return the claims of a token signed by this key, even if expired, else None."""
        return _read(token, self._signing, "RS256")

    def read_refresh(self, token: str) -> Claims | None:
        """Return the claims of a refresh token, even if expired, else None."""
        return _read(token, self._refresh, "HS512")

    def _save(self, path: Path) -> None:
        kept = {
            "sig": self._signing.as_dict(private=True),
            "enc": self._encryption.as_dict(private=True),
            "refresh": self._refresh.as_dict(private=True),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(kept), encoding="ascii")
        draft.replace(path)


def _rsa_key(use: str, algorithm: str) -> RSAKey:
    key = RSAKey.generate_key(2048, {"use": use, "alg": algorithm}, private=True)
    return RSAKey.import_key({**key.as_dict(private=True), "kid": key.thumbprint()})


def _secret() -> OctKey:
    return OctKey.generate_key(512, {"kid": secrets.token_hex(16)}, private=True)


def _read(token: str, key: RSAKey | OctKey, algorithm: str) -> Claims | None:
    try:
        return jwt.decode(token, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, TypeError):
        return None
