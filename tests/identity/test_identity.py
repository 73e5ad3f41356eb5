"""Conformance of the embedded identity provider with Keycloak: these tests pass on both.

`make test` runs them on the embedded provider, `make test-keycloak KEYCLOAK_URL=...` on a Keycloak
with docker/keycloak/realm-export.json. No test distinguishes between the two.
"""

import base64
import hashlib
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest
from jose import jwt

from chassis.security.token_verifier import AuthSettings, Identity, InvalidToken, TokenVerifier
from fleet.clients.identity import IdentityProvider
from tests.identity.browser import CALLBACK, Browser, Form, Login, returned
from tests.identity.conftest import Ask, logged_in

ROLES = {"alice": {"customer"}, "bob": {"customer"}, "admin": {"admin", "customer"}}
REPORTING = {"client_id": "reporting", "client_secret": "reporting-demo-secret"}
PASSWORD = {"grant_type": "password", "client_id": "storefront"}
ALICE = {**PASSWORD, "username": "alice", "password": "alice"}
WRONG_CLIENT = "Invalid client or Invalid client credentials"


def claims(token: str) -> dict[str, Any]:
    """Return the claims of a token without verification."""
    found: dict[str, Any] = jwt.get_unverified_claims(token)
    return found


def refused(answer: httpx2.Response) -> tuple[int, str, str]:
    payload = answer.json()
    return answer.status_code, payload["error"], payload.get("error_description", "")


# --- discovery documents ---


def test_discovery_document_lists_every_endpoint(provider: IdentityProvider) -> None:
    found = httpx2.get(f"{provider.issuer}/.well-known/openid-configuration").json()
    assert found["issuer"] == provider.issuer
    assert found["jwks_uri"] == provider.jwks_url
    assert found["token_endpoint"] == f"{provider.endpoints}/token"
    assert found["authorization_endpoint"] == f"{provider.endpoints}/auth"
    assert found["userinfo_endpoint"] == f"{provider.endpoints}/userinfo"
    assert found["end_session_endpoint"] == f"{provider.endpoints}/logout"
    assert "S256" in found["code_challenge_methods_supported"]
    grants = {"password", "authorization_code", "refresh_token", "client_credentials"}
    assert grants <= set(found["grant_types_supported"])


def test_issuer_does_not_depend_on_host_header(provider: IdentityProvider) -> None:
    url = provider.issuer.replace("localhost", "127.0.0.1")
    found = httpx2.get(f"{url}/.well-known/openid-configuration").json()
    assert found["issuer"] == provider.issuer


def test_key_set_has_signing_key_and_encryption_key(
    provider: IdentityProvider, alice: dict[str, Any]
) -> None:
    answer = httpx2.get(provider.jwks_url)
    assert answer.headers["cache-control"] == "no-cache"
    keys = {key["use"]: key for key in answer.json()["keys"]}
    assert {use: key["alg"] for use, key in keys.items()} == {"sig": "RS256", "enc": "RSA-OAEP"}
    assert all(key["kty"] == "RSA" and "d" not in key for key in keys.values())
    assert keys["sig"]["kid"] != keys["enc"]["kid"]
    header = jwt.get_unverified_header(alice["access_token"])
    assert header == {"alg": "RS256", "typ": "JWT", "kid": keys["sig"]["kid"]}


def test_unknown_realm_returns_404(provider: IdentityProvider) -> None:
    answer = httpx2.post(provider.endpoints.replace("microservices", "nowhere") + "/token")
    assert (answer.status_code, answer.json()) == (404, {"error": "Realm does not exist"})


def test_unknown_path_returns_404(provider: IdentityProvider) -> None:
    answer = httpx2.get(f"{provider.endpoints}/nowhere")
    assert (answer.status_code, answer.json()) == (404, {"error": "HTTP 404 Not Found"})


# --- password grant ---


@pytest.mark.parametrize("user", ROLES)
def test_access_token_contains_identity_and_roles(
    provider: IdentityProvider, ask: Ask, user: str
) -> None:
    answer = ask("token", **PASSWORD, username=user, password=user)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert tokens.keys() == {
        *("access_token", "expires_in", "refresh_token", "refresh_expires_in", "token_type"),
        *("not-before-policy", "session_state", "scope"),
    }
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 300)
    payload = claims(tokens["access_token"])
    assert payload["iss"] == provider.issuer
    assert payload["aud"] == "ecommerce-api"
    assert payload["typ"] == "Bearer"
    assert payload["azp"] == "storefront"
    assert set(payload["realm_access"]["roles"]) == ROLES[user]
    assert (payload["email"], payload["email_verified"]) == (f"{user}@example.com", True)
    assert payload["preferred_username"] == user
    assert payload["name"] == f"{payload['given_name']} {payload['family_name']}"
    assert str(uuid.UUID(payload["sub"])) == payload["sub"]
    assert payload["sid"] == tokens["session_state"]
    assert payload["exp"] == payload["iat"] + 300
    assert abs(payload["iat"] - time.time()) < 30
    assert "http://localhost:9000" in payload["allowed-origins"]
    assert set(payload["scope"].split()) == {"profile", "email"}


def test_subject_is_stable_and_unique_per_user(ask: Ask) -> None:
    def subject(user: str) -> str:
        tokens = ask("token", **PASSWORD, username=user, password=user).json()
        return str(claims(tokens["access_token"])["sub"])

    assert subject("alice") == subject("alice@example.com".partition("@")[0])
    assert len({subject(user) for user in ROLES}) == len(ROLES)


def test_email_address_in_any_case_is_accepted_as_user_name(ask: Ask) -> None:
    answer = ask("token", **PASSWORD, username="Alice@Example.com", password="alice")
    assert claims(answer.json()["access_token"])["preferred_username"] == "alice"


def test_id_token_requires_openid_scope(provider: IdentityProvider, alice: dict[str, Any]) -> None:
    assert set(alice["scope"].split()) == {"openid", "profile", "email"}
    payload = claims(alice["id_token"])
    half = hashlib.sha256(alice["access_token"].encode()).digest()[:16]
    assert payload["at_hash"] == base64.urlsafe_b64encode(half).rstrip(b"=").decode()
    assert (payload["typ"], payload["aud"], payload["azp"]) == ("ID", "storefront", "storefront")
    assert payload["iss"] == provider.issuer
    assert payload["sub"] == claims(alice["access_token"])["sub"]
    assert "realm_access" not in payload


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({**ALICE, "password": "wrong"}, (400, "invalid_grant", "Invalid user credentials")),
        ({**ALICE, "username": "nobody"}, (400, "invalid_grant", "Invalid user credentials")),
        ({**PASSWORD, "username": "alice"}, (400, "invalid_grant", "Invalid user credentials")),
        ({**PASSWORD, "password": "x"}, (401, "invalid_request", "Missing parameter: username")),
        ({**ALICE, "client_id": "unknown"}, (401, "invalid_client", WRONG_CLIENT)),
        ({"grant_type": "password"}, (401, "invalid_client", WRONG_CLIENT)),
        ({**ALICE, "grant_type": "x"}, (400, "unsupported_grant_type", "Unsupported grant_type")),
        (
            {"client_id": "storefront"},
            (400, "invalid_request", "Missing form parameter: grant_type"),
        ),
        (
            {"grant_type": "client_credentials", "client_id": "storefront"},
            (401, "unauthorized_client", "Public client not allowed to retrieve service account"),
        ),
        (
            {**ALICE, **REPORTING},
            (400, "unauthorized_client", "Client not allowed for direct access grants"),
        ),
        (
            {**ALICE, "scope": "openid nosuch"},
            (400, "invalid_scope", "Invalid scopes: openid nosuch"),
        ),
        (
            {**ALICE, "scope": "offline_access"},
            (400, "not_allowed", "Offline tokens not allowed for the user or client"),
        ),
        (
            {"grant_type": "refresh_token", "client_id": "storefront"},
            (400, "invalid_request", "No refresh token"),
        ),
        (
            {"grant_type": "refresh_token", "client_id": "storefront", "refresh_token": "x.y.z"},
            (400, "invalid_grant", "Invalid refresh token"),
        ),
        (
            {"grant_type": "authorization_code", "client_id": "storefront"},
            (400, "invalid_request", "Missing parameter: code"),
        ),
        (
            {"grant_type": "authorization_code", "client_id": "storefront", "code": "x"},
            (400, "invalid_grant", "Code not valid"),
        ),
        (
            {"grant_type": "client_credentials", **REPORTING, "client_secret": "wrong"},
            (401, "unauthorized_client", WRONG_CLIENT),
        ),
        (
            {"grant_type": "client_credentials", "client_id": "reporting"},
            (401, "unauthorized_client", WRONG_CLIENT),
        ),
    ],
)
def test_invalid_token_request_returns_its_error(
    ask: Ask, form: dict[str, str], expected: tuple[int, str, str]
) -> None:
    answer = ask("token", **form)
    assert refused(answer) == expected
    assert answer.headers["content-type"].startswith("application/json")


def test_duplicate_parameter_is_refused(provider: IdentityProvider) -> None:
    answer = httpx2.post(
        f"{provider.endpoints}/token",
        content="grant_type=password&client_id=storefront&username=alice&username=bob&password=bob",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert refused(answer) == (400, "invalid_request", "duplicated parameter")


def test_json_body_is_refused(provider: IdentityProvider) -> None:
    answer = httpx2.post(f"{provider.endpoints}/token", json=ALICE)
    missing = "Missing form parameter: grant_type"
    assert refused(answer) == (400, "invalid_request", missing)


def test_large_form_is_refused(ask: Ask) -> None:
    assert ask("token", **ALICE, more="x" * 200_000).status_code == 413


def test_token_endpoint_refuses_get(provider: IdentityProvider) -> None:
    answer = httpx2.get(f"{provider.endpoints}/token", params=ALICE)
    assert refused(answer) == (405, "HTTP 405 Method Not Allowed", "")


# --- refresh token and client credentials grants ---


def test_refresh_token_returns_new_tokens_of_same_session(ask: Ask) -> None:
    first = logged_in(ask)
    form = {"grant_type": "refresh_token", "client_id": "storefront"}
    answer = ask("token", **form, refresh_token=first["refresh_token"])
    assert answer.status_code == 200
    second = answer.json()
    assert second["session_state"] == first["session_state"]
    assert second.keys() == first.keys()
    was, now = claims(first["access_token"]), claims(second["access_token"])
    assert was["jti"] != now["jti"]
    assert (was["sub"], was["sid"], was["realm_access"]) == (
        *(now["sub"], now["sid"], now["realm_access"]),
    )
    again = ask("token", **form, refresh_token=first["refresh_token"])
    assert again.status_code == 200


def test_refresh_with_other_token_type_is_refused(ask: Ask, alice: dict[str, Any]) -> None:
    form = {"grant_type": "refresh_token", "client_id": "storefront"}
    for kind in ("access_token", "id_token"):
        answer = ask("token", **form, refresh_token=alice[kind])
        assert refused(answer) == (400, "invalid_grant", "Invalid refresh token")


def test_refresh_by_other_client_is_refused(ask: Ask, alice: dict[str, Any]) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": alice["refresh_token"]}
    status, error, why = refused(ask("token", **form, **REPORTING))
    assert (status, error) == (400, "invalid_grant")
    assert "Token client and authorized client don't match" in why


def test_client_credentials_token_has_no_roles(provider: IdentityProvider, ask: Ask) -> None:
    answer = ask("token", grant_type="client_credentials", **REPORTING)
    assert answer.status_code == 200
    tokens = answer.json()
    assert "refresh_token" not in tokens
    payload = claims(tokens["access_token"])
    assert (payload["iss"], payload["aud"]) == (provider.issuer, "ecommerce-api")
    assert (payload["typ"], payload["azp"]) == ("Bearer", "reporting")
    assert payload["preferred_username"] == "service-account-reporting"
    assert "realm_access" not in payload
    assert "email" not in payload


def test_client_may_authenticate_with_basic_header(provider: IdentityProvider) -> None:
    answer = httpx2.post(
        f"{provider.endpoints}/token",
        data={"grant_type": "client_credentials"},
        auth=(REPORTING["client_id"], REPORTING["client_secret"]),
    )
    assert answer.status_code == 200


# --- authorization code flow ---


def test_authorization_code_login_returns_tokens(provider: IdentityProvider, ask: Ask) -> None:
    login, browser = Login(provider), Browser()
    page = browser.get(login.url())
    assert page.headers["content-type"].startswith("text/html")
    assert "no-store" in page.headers["cache-control"]
    assert page.headers["x-frame-options"] == "SAMEORIGIN"
    assert "<title>Sign in to Microservices</title>" in page.text
    back = returned(browser.log_in(page, "alice", "alice"))
    assert (back["state"], back["iss"]) == ("s1", provider.issuer)
    answer = ask("token", **login.form(back["code"]))
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    assert tokens["session_state"] == back["session_state"]
    payload, access = claims(tokens["id_token"]), claims(tokens["access_token"])
    assert (payload["nonce"], payload["aud"], payload["acr"]) == ("n1", "storefront", "1")
    assert abs(payload["auth_time"] - time.time()) < 30
    assert (access["typ"], access["aud"]) == ("Bearer", "ecommerce-api")
    assert access["preferred_username"] == "alice"


def test_wrong_password_shows_form_with_error(provider: IdentityProvider) -> None:
    browser = Browser()
    page = browser.get(Login(provider).url())
    again = browser.log_in(page, "alice", "wrong")
    assert again.status_code == 200
    assert "Invalid username or password." in again.text
    assert returned(browser.log_in(again, "alice", "alice"))["code"]


def test_active_session_skips_login_form(provider: IdentityProvider, ask: Ask) -> None:
    browser = Browser()
    first = returned(browser.log_in(browser.get(Login(provider).url()), "bob", "bob"))
    for prompt in (None, "none"):
        login = Login(provider)
        back = returned(browser.get(login.url(prompt=prompt, state="s2")))
        assert back["session_state"] == first["session_state"]
        assert back["state"] == "s2"
        tokens = ask("token", **login.form(back["code"])).json()
        assert claims(tokens["id_token"])["acr"] == "0"
        assert claims(tokens["access_token"])["preferred_username"] == "bob"
    assert browser.get(Login(provider).url(prompt="login")).status_code == 200


def test_prompt_none_without_session_redirects_with_login_required(
    provider: IdentityProvider,
) -> None:
    back = returned(Browser().get(Login(provider).url(prompt="none")))
    assert back == {"error": "login_required", "state": "s1", "iss": provider.issuer}


@pytest.mark.parametrize(
    ("changed", "error", "description"),
    [
        (
            {"code_challenge": None, "code_challenge_method": None},
            "invalid_request",
            "Missing parameter: code_challenge_method",
        ),
        (
            {"code_challenge_method": "plain"},
            "invalid_request",
            "Invalid parameter: code challenge method is not matching the configured one",
        ),
        (
            {"code_challenge": "short"},
            "invalid_request",
            "Invalid parameter: code_challenge",
        ),
        (
            {"code_challenge": "!" * 43},
            "invalid_request",
            "Invalid parameter: code_challenge",
        ),
        ({"response_type": "banana"}, "unsupported_response_type", ""),
        ({"response_type": None}, "invalid_request", "Missing parameter: response_type"),
        (
            {"response_type": "token"},
            "unauthorized_client",
            "Client is not allowed to initiate browser login with given response_type. "
            "Implicit flow is disabled for the client.",
        ),
        ({"scope": "openid nosuch"}, "invalid_scope", "Invalid scopes: openid nosuch"),
    ],
)
def test_invalid_authorization_request_redirects_with_error(
    provider: IdentityProvider, changed: dict[str, str | None], error: str, description: str
) -> None:
    back = returned(Browser().get(Login(provider).url(**changed)))
    assert (back["error"], back.get("error_description", "")) == (error, description)
    assert (back["state"], back["iss"]) == ("s1", provider.issuer)


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "http://evil.example/",
        "http://localhost/",
        "http://localhost.evil.example:3000/",
        "http://localhost:3000@evil.example/",
        "http://127.0.0.1:9000@evil.example/",
        "http://localhost:abc/",
        "https://localhost:3000/",
        "http://localhost:3000\\@evil.example/",
        "http://localhost:3000/../cb",
        "javascript:alert(1)//http://localhost:3000",
        "",
        None,
    ],
)
def test_unregistered_redirect_uri_is_refused(
    provider: IdentityProvider, redirect_uri: str | None
) -> None:
    answer = Browser().get(Login(provider).url(redirect_uri=redirect_uri))
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "Invalid parameter: redirect_uri" in answer.text


def test_unknown_client_is_not_redirected(provider: IdentityProvider) -> None:
    answer = Browser().get(Login(provider).url(client_id="unknown"))
    assert answer.status_code == 400
    assert "Client not found." in answer.text


def test_login_page_escapes_parameters(provider: IdentityProvider) -> None:
    nasty = '"><script>alert(1)</script>'
    page = Browser().get(Login(provider).url(state=nasty, nonce=nasty, login_hint=nasty))
    assert page.status_code == 200
    assert "<script>alert(1)" not in page.text


@pytest.mark.parametrize(
    ("changed", "description"),
    [
        ({"code_verifier": "w" * 43}, "PKCE verification failed: Code mismatch"),
        ({"code_verifier": "!" * 43}, "PKCE verification failed: Invalid code verifier"),
        ({"code_verifier": None}, "PKCE code verifier not specified"),
        ({"redirect_uri": "http://localhost:3000/other"}, "Incorrect redirect_uri"),
    ],
)
def test_code_is_bound_to_its_request_and_invalid_after_failed_exchange(
    provider: IdentityProvider, ask: Ask, changed: dict[str, str | None], description: str
) -> None:
    login = Login(provider)
    code = login.code()
    answer = ask("token", **login.form(code, **changed))
    assert refused(answer) == (400, "invalid_grant", description)
    again = ask("token", **login.form(code))
    assert refused(again) == (400, "invalid_grant", "Code not valid")


def test_code_reuse_is_refused_and_revokes_its_tokens(provider: IdentityProvider, ask: Ask) -> None:
    login = Login(provider)
    code = login.code()
    answer = ask("token", **login.form(code))
    assert answer.status_code == 200
    tokens = answer.json()
    assert userinfo(provider, f"Bearer {tokens['access_token']}").status_code == 200
    assert refused(ask("token", **login.form(code))) == (400, "invalid_grant", "Code not valid")
    assert userinfo(provider, f"Bearer {tokens['access_token']}").status_code == 401
    form = {"grant_type": "refresh_token", "client_id": "storefront"}
    again = ask("token", **form, refresh_token=tokens["refresh_token"])
    assert refused(again)[:2] == (400, "invalid_grant")


def test_code_exchange_by_other_client_is_refused(provider: IdentityProvider, ask: Ask) -> None:
    login = Login(provider)
    answer = ask("token", **(login.form(login.code()) | REPORTING))
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_grant"


# --- CORS ---


@pytest.mark.parametrize("origin", ["http://localhost:9000", "http://127.0.0.1:9000"])
def test_api_page_of_gateway_may_request_tokens(
    provider: IdentityProvider, ask: Ask, origin: str
) -> None:
    login, browser, page = Login(provider), Browser(), f"{origin}/docs/oauth2-redirect"
    back = returned(browser.log_in(browser.get(login.url(redirect_uri=page)), "bob", "bob"), page)
    form = login.form(back["code"], redirect_uri=page)
    answer = ask("token", headers={"Origin": origin}, **form)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin


def test_allowed_origin_may_read_error_response(ask: Ask) -> None:
    answer = ask("token", headers={"Origin": "http://localhost:3000"}, **ALICE | {"password": "x"})
    assert answer.status_code == 400
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:9001", "null"])
def test_other_origin_gets_no_token(ask: Ask, origin: str) -> None:
    answer = ask("token", headers={"Origin": origin}, **ALICE)
    assert (answer.status_code, answer.json()) == (403, {"error": "Invalid origin"})
    assert "access-control-allow-origin" not in answer.headers


def test_preflight_request_is_answered(provider: IdentityProvider) -> None:
    origin = "http://localhost:9000"
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    answer = httpx2.options(f"{provider.endpoints}/token", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()


# --- userinfo and logout ---


def userinfo(provider: IdentityProvider, authorization: str | None) -> httpx2.Response:
    headers = {"Authorization": authorization} if authorization is not None else {}
    return httpx2.get(f"{provider.endpoints}/userinfo", headers=headers)


def test_userinfo_returns_claims_of_user(provider: IdentityProvider, alice: dict[str, Any]) -> None:
    answer = userinfo(provider, f"Bearer {alice['access_token']}")
    assert answer.status_code == 200
    assert answer.json() == {
        "sub": claims(alice["access_token"])["sub"],
        "email_verified": True,
        "name": "Alice Archer",
        "preferred_username": "alice",
        "given_name": "Alice",
        "family_name": "Archer",
        "email": "alice@example.com",
    }


def test_userinfo_error_has_header_and_no_body(
    provider: IdentityProvider, ask: Ask, alice: dict[str, Any]
) -> None:
    without_openid = ask("token", **ALICE).json()["access_token"]
    realm, failed = 'Bearer realm="microservices"', "Token verification failed"
    invalid = f'{realm}, error="invalid_token", error_description="{failed}"'
    missing = f'{realm}, error="insufficient_scope", error_description="Missing openid scope"'
    for authorization, status, challenge in (
        (None, 401, realm),
        ("Basic YTpi", 401, realm),
        ("Bearer a.b.c", 401, invalid),
        (f"Bearer {alice['id_token']}", 401, invalid),
        (f"Bearer {alice['refresh_token']}", 401, invalid),
        (f"Bearer {without_openid}", 403, missing),
    ):
        answer = userinfo(provider, authorization)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (status, challenge)
        assert answer.content == b""


def test_userinfo_from_other_origin_is_not_readable(
    provider: IdentityProvider, alice: dict[str, Any]
) -> None:
    for origin, status in (("http://localhost:9000", 200), ("http://evil.example", 403)):
        headers = {"Origin": origin, "Authorization": f"Bearer {alice['access_token']}"}
        answer = httpx2.get(f"{provider.endpoints}/userinfo", headers=headers)
        assert answer.status_code == status
        assert (answer.headers.get("access-control-allow-origin") == origin) is (status == 200)


def test_logout_invalidates_all_tokens_of_session(provider: IdentityProvider, ask: Ask) -> None:
    tokens = logged_in(ask)
    refresh = {"client_id": "storefront", "refresh_token": tokens["refresh_token"]}
    assert ask("logout", **refresh).status_code == 204
    answer = ask("token", grant_type="refresh_token", **refresh)
    assert refused(answer) == (400, "invalid_grant", "Session not active")
    answer = userinfo(provider, f"Bearer {tokens['access_token']}")
    assert answer.status_code == 401
    assert 'error_description="user_session_not_found"' in answer.headers["www-authenticate"]
    assert ask("logout", **refresh).status_code == 204


def test_logout_requires_refresh_token_of_client(ask: Ask, alice: dict[str, Any]) -> None:
    answer = ask("logout", client_id="storefront", refresh_token="a.b.c")
    assert refused(answer) == (400, "invalid_grant", "Invalid refresh token")
    answer = ask("logout", **REPORTING, refresh_token=alice["refresh_token"])
    assert answer.status_code == 400
    form = {"grant_type": "refresh_token", "client_id": "storefront"}
    assert ask("token", **form, refresh_token=alice["refresh_token"]).status_code == 200


def test_end_session_logs_out_and_redirects(provider: IdentityProvider, ask: Ask) -> None:
    login, browser = Login(provider), Browser()
    back = returned(browser.log_in(browser.get(login.url()), "alice", "alice"))
    tokens = ask("token", **login.form(back["code"])).json()
    query = {
        "id_token_hint": tokens["id_token"],
        "post_logout_redirect_uri": "http://localhost:3000/bye",
        "state": "x1",
    }
    answer = browser.get(f"{provider.endpoints}/logout?{httpx2.QueryParams(query)}")
    assert answer.status_code == 302
    assert answer.headers["location"] == "http://localhost:3000/bye?state=x1"
    assert returned(browser.get(login.url(prompt="none")))["error"] == "login_required"
    form = {"grant_type": "refresh_token", "client_id": "storefront"}
    answer = ask("token", **form, refresh_token=tokens["refresh_token"])
    assert refused(answer) == (400, "invalid_grant", "Session not active")


def test_end_session_without_id_token_asks_for_confirmation(
    provider: IdentityProvider,
) -> None:
    login, browser = Login(provider), Browser()
    returned(browser.log_in(browser.get(login.url()), "alice", "alice"))
    assert "Do you want to log out?" in browser.get(f"{provider.endpoints}/logout").text
    assert returned(browser.get(login.url(prompt="none")))["code"]
    form = Form(browser.get(f"{provider.endpoints}/logout").text)
    done = browser.post(urljoin(provider.issuer, form.action), **form.fields)
    assert "You are logged out" in done.text
    assert returned(browser.get(login.url(prompt="none")))["error"] == "login_required"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"post_logout_redirect_uri": "http://evil.example/"}, 400),
        ({"post_logout_redirect_uri": "http://localhost:3000@evil.example/"}, 400),
        ({"id_token_hint": "a.b.c", "post_logout_redirect_uri": CALLBACK}, 400),
        ({"id_token_hint": None, "post_logout_redirect_uri": CALLBACK}, 400),
        ({"id_token_hint": None}, 200),
    ],
)
def test_end_session_from_foreign_link_does_not_log_out(
    provider: IdentityProvider, ask: Ask, query: dict[str, str | None], status: int
) -> None:
    tokens = logged_in(ask)
    sent = {"id_token_hint": tokens["id_token"], **query}
    given = {name: value for name, value in sent.items() if value is not None}
    answer = Browser().get(f"{provider.endpoints}/logout?{httpx2.QueryParams(given)}")
    assert answer.status_code == status
    assert "location" not in answer.headers
    form = {"grant_type": "refresh_token", "client_id": "storefront"}
    assert ask("token", **form, refresh_token=tokens["refresh_token"]).status_code == 200


def test_end_session_with_other_token_type_is_refused(provider: IdentityProvider, ask: Ask) -> None:
    tokens = logged_in(ask)
    for kind in ("access_token", "refresh_token"):
        query = {"id_token_hint": tokens[kind], "post_logout_redirect_uri": CALLBACK}
        answer = Browser().get(f"{provider.endpoints}/logout?{httpx2.QueryParams(query)}")
        assert answer.status_code == 400, kind
    assert userinfo(provider, f"Bearer {tokens['access_token']}").status_code == 200


# --- token verifier of the services ---


@pytest.fixture(scope="module")
async def verifier(provider: IdentityProvider) -> AsyncIterator[TokenVerifier]:
    settings = AuthSettings(oidc_issuer=provider.issuer, oidc_jwks_url=provider.jwks_url)
    verifier = TokenVerifier(settings)
    yield verifier
    await verifier.aclose()


@pytest.mark.parametrize("user", ROLES)
async def test_verifier_accepts_access_token_and_returns_principal(
    provider: IdentityProvider, verifier: TokenVerifier, user: str
) -> None:
    token = provider.token(user)
    payload = claims(token)
    assert await verifier.verify(token) == Identity(
        payload["sub"], f"{user}@example.com", frozenset(ROLES[user]), payload["exp"]
    )


async def test_verifier_accepts_client_token_without_roles(
    verifier: TokenVerifier, ask: Ask
) -> None:
    tokens = ask("token", grant_type="client_credentials", **REPORTING).json()
    identity = await verifier.verify(tokens["access_token"])
    assert (identity.email, identity.roles) == (None, frozenset())


@pytest.mark.parametrize("kind", ["id_token", "refresh_token"])
async def test_verifier_refuses_other_token_types(
    verifier: TokenVerifier, alice: dict[str, Any], kind: str
) -> None:
    with pytest.raises(InvalidToken):
        await verifier.verify(alice[kind])


async def test_verifier_refuses_altered_token(
    verifier: TokenVerifier, alice: dict[str, Any]
) -> None:
    head, body, signature = alice["access_token"].split(".")
    payload = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
    forged = (
        base64.urlsafe_b64encode(payload.replace(b'"customer"', b'"admin"')).rstrip(b"=").decode()
    )
    assert forged != body
    with pytest.raises(InvalidToken):
        await verifier.verify(f"{head}.{forged}.{signature}")


def test_token_helper_caches_token(provider: IdentityProvider) -> None:
    assert provider.token("bob") == provider.token("bob")
