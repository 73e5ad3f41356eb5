"""Tests of the identity emulator beyond tests/identity, which also runs on Keycloak."""

from __future__ import annotations

import base64
import json
import stat
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from fleet.clients.identity import IdentityProvider
from fleet.emulators.identity import grants
from fleet.emulators.identity.keys import Keys
from fleet.emulators.identity.provider import Provider
from fleet.emulators.identity.realm import Client, read_realm
from fleet.emulators.identity.sessions import (
    CODE_SECONDS,
    MOST_CODES,
    MOST_SESSIONS,
    Code,
    Codes,
    Sessions,
)
from fleet.emulators.identity.wire import Refused, fields_of
from fleet.errors import FleetError
from fleet.processes.ports import free_port
from fleet.processes.program import Port
from fleet.processes.runner import Runner
from fleet.servers.identity import REALM_FILE, IdentityServer
from fleet.testing.temporary_servers import TemporaryServers

ALICE = {"grant_type": "password", "username": "alice", "password": "alice"}
USER = next(user for user in read_realm(REALM_FILE).users if user.username == "alice")


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def exported() -> dict[str, Any]:
    """Return the realm file's content for changes."""
    found: dict[str, Any] = json.loads(REALM_FILE.read_text(encoding="utf-8"))
    return found


def _provider(exported: dict[str, Any], tmp_path: Path) -> Provider:
    file = tmp_path / "realm.json"
    file.write_text(json.dumps(exported), encoding="utf-8")
    return Provider(read_realm(file), Keys.load(tmp_path / "keys.json"), "http://localhost:1")


def _access(provider: Provider) -> dict[str, Any]:
    client = provider.realm.clients["storefront"]
    token = grants.tokens(provider, client, ALICE)["access_token"]
    claims = provider.keys.read(token)
    assert claims is not None
    return claims


def _key_ids(provider: IdentityProvider) -> set[str]:
    with urllib.request.urlopen(provider.jwks_url, timeout=5) as answer:  # noqa: S310
        return {key["kid"] for key in json.load(answer)["keys"]}


def _code(issued: float, session_id: str = "s") -> Code:
    return Code(
        session_id, "storefront", "http://localhost:3000/", "c", "openid", "", False, issued
    )


def test_tokens_stay_valid_after_kill_and_restart(identity_server: IdentityProvider) -> None:
    head = identity_server.token("alice").partition(".")[0]
    key_id = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]
    assert key_id in _key_ids(identity_server)
    identity_server.kill()
    identity_server.start()
    assert key_id in _key_ids(identity_server)


def test_stopped_or_paused_provider_serves_no_keys(
    identity_server: IdentityProvider,
) -> None:
    identity_server.stop()
    with pytest.raises(OSError, match="refused"):
        _key_ids(identity_server)
    with pytest.raises(FleetError, match="Start the fleet"):
        identity_server.log_in("alice", "alice")
    identity_server.start()
    identity_server.pause()
    try:
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(identity_server.jwks_url, timeout=0.3)  # noqa: S310
    finally:
        identity_server.resume()
    assert len(_key_ids(identity_server)) == 2


def test_provider_listens_on_loopback_and_key_file_is_private() -> None:
    servers = TemporaryServers()
    runner: Runner[IdentityServer] = servers.start(
        IdentityServer(servers.folder, Port(free_port()))
    )
    try:
        identity = runner.identity
        assert identity is not None
        listening = psutil.Process(identity.pid).net_connections(kind="tcp")
        assert {one.laddr[0] for one in listening if one.status == psutil.CONN_LISTEN} == {
            "127.0.0.1"
        }
        keys = servers.folder / "identity" / "keys.json"
        assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    finally:
        runner.kill()
        servers.remove()


def test_damaged_key_file_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text('{"sig": {}}', encoding="ascii")
    with pytest.raises(FleetError, match="contains no keys"):
        Keys.load(file)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"realm": "x", "users": [{}]}'])
def test_invalid_realm_file_is_reported(tmp_path: Path, text: str) -> None:
    file = tmp_path / "realm.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(FleetError, match="is not a realm"):
        read_realm(file)
    with pytest.raises(FleetError, match="cannot be read"):
        read_realm(tmp_path / "missing.json")


def test_composite_role_includes_its_roles(exported: dict[str, Any], tmp_path: Path) -> None:
    exported["users"][0]["realmRoles"] = ["default-roles-microservices"]
    roles = _access(_provider(exported, tmp_path))["realm_access"]["roles"]
    assert roles == ["default-roles-microservices", "customer"]


@pytest.mark.parametrize(
    ("audiences", "expected"), [([], None), (["a"], "a"), (["a", "b"], ["a", "b"])]
)
def test_audience_claim_is_string_list_or_absent(
    exported: dict[str, Any], tmp_path: Path, audiences: list[str], expected: object
) -> None:
    (mapper,) = exported["clients"][0]["protocolMappers"]
    exported["clients"][0]["protocolMappers"] = [
        {**mapper, "config": {**mapper["config"], "included.custom.audience": audience}}
        for audience in audiences
    ]
    assert _access(_provider(exported, tmp_path)).get("aud") == expected


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"enabled": False}, "Account disabled"),
        ({"lastName": ""}, "Account is not fully set up"),
        ({"credentials": []}, "Invalid user credentials"),
    ],
)
def test_disabled_user_is_refused(
    exported: dict[str, Any], tmp_path: Path, changed: dict[str, Any], reason: str
) -> None:
    exported["users"][0].update(changed)
    with pytest.raises(Refused, match=reason):
        _access(_provider(exported, tmp_path))


def test_service_account_has_no_password(exported: dict[str, Any], tmp_path: Path) -> None:
    provider = _provider(exported, tmp_path)
    for password in ("", "service-account-reporting"):
        with pytest.raises(Refused, match="Invalid user credentials"):
            grants.authenticated(provider, "service-account-reporting", password)


def test_confidential_client_without_stored_secret_is_refused(
    exported: dict[str, Any], tmp_path: Path
) -> None:
    exported["clients"][1].pop("secret")
    provider = _provider(exported, tmp_path)
    for form in ({}, {"client_secret": ""}):
        with pytest.raises(Refused, match="Invalid client"):
            grants.client_of(provider, {"client_id": "reporting", **form})


def test_refresh_token_expires_with_its_session(exported: dict[str, Any], tmp_path: Path) -> None:
    provider = _provider(exported, tmp_path)
    client = provider.realm.clients["storefront"]
    clock = Clock()
    provider.sessions = Sessions(1800, 36_000, clock)
    first = grants.tokens(provider, client, ALICE)
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    for _ in range(3):
        clock.now += 1700  # each use resets the idle time
        assert grants.tokens(provider, client, form)["access_token"]
    clock.now += 1801
    with pytest.raises(Refused, match="Session not active"):
        grants.tokens(provider, client, form)


def test_session_ends_at_maximum_lifetime() -> None:
    clock = Clock()
    sessions = Sessions(idle_seconds=100, longest_seconds=250, now=clock)
    session = sessions.begin(USER)
    for _ in range(3):
        clock.now += 80
        assert sessions.find(session.id) is session
        sessions.use(session)
    clock.now += 11
    assert sessions.find(session.id) is None


def test_cookie_requires_session_secret() -> None:
    sessions = Sessions(100, 100)
    session = sessions.begin(USER)
    assert sessions.of_cookie(session.cookie) is session
    for cookie in (None, "", session.id, f"{session.id}.", f"{session.id}.x", f".{session.secret}"):
        assert sessions.of_cookie(cookie) is None


def test_session_limit_removes_oldest() -> None:
    sessions = Sessions(100, 100)
    first = sessions.begin(USER)
    later = [sessions.begin(USER) for _ in range(MOST_SESSIONS)]
    assert sessions.find(first.id) is None
    assert all(sessions.find(one.id) is one for one in (later[0], later[-1]))


def test_code_expires_after_a_minute() -> None:
    clock = Clock()
    codes = Codes(clock)
    names = [codes.issue(_code(codes.now)) for _ in range(2)]
    clock.now += CODE_SECONDS
    assert codes.redeem(names[0]) is not None
    clock.now += 0.1
    assert codes.redeem(names[1]) is None


def test_code_is_redeemed_once() -> None:
    codes = Codes()
    name = codes.issue(_code(codes.now))
    assert codes.used(name) is None
    code = codes.redeem(name)
    assert code is not None
    assert codes.redeem(name) is None
    assert codes.used(name) is code


def test_code_limit_removes_oldest() -> None:
    codes = Codes()
    names = [codes.issue(_code(codes.now)) for _ in range(MOST_CODES + 1)]
    assert codes.redeem(names[0]) is None
    assert codes.redeem(names[1]) is not None


def _client(*redirect_uris: str) -> Client:
    return Client("c", None, True, True, False, redirect_uris, (), (), ())


@pytest.mark.parametrize(
    ("pattern", "uri", "allowed"),
    [
        ("http://localhost:*", "http://localhost:3000/cb?x=1", True),
        ("http://localhost:*", "http://localhost/cb", False),
        ("http://localhost:*", "http://localhost:3000@evil.example/", False),
        ("http://localhost:*", "http://localhost:3000\\@evil.example/", False),
        ("http://localhost:*", "http://localhost:3000/cb#fragment", False),
        ("http://localhost:*", "http://localhost:3000/\r\nSet-Cookie: a=b", False),
        ("http://localhost:*", "http://localhost:99999/", False),
        ("https://shop.example/app/*", "https://shop.example/app/cb", True),
        ("https://shop.example/app/*", "https://shop.example/app/../admin", False),
        ("https://shop.example/app/*", "https://shop.example/app/%2E%2e/admin", False),
        ("https://shop.example/cb", "https://shop.example/cb", True),
        ("https://shop.example/cb", "https://shop.example/cb/more", False),
    ],
)
def test_redirect_uri_matches_like_keycloak(pattern: str, uri: str, allowed: bool) -> None:
    assert _client(pattern).may_return_to(uri) is allowed


def test_form_size_is_bounded_and_fields_are_unique() -> None:
    assert fields_of("a=1&b=&c=%C3%BC") == {"a": "1", "b": "", "c": "ü"}
    with pytest.raises(Refused, match="duplicated parameter"):
        fields_of("a=1&a=1")
    with pytest.raises(Refused, match="Too many"):
        fields_of("&".join(f"f{number}=1" for number in range(51)))
