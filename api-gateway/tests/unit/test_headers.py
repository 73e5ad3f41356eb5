"""Promises 43 and 47: only listed headers are forwarded."""

import pytest

from app.errors import InvalidConnectionHeader
from app.headers import RawHeaders, response_headers, upstream_headers


def sent(headers: RawHeaders, token: str | None = None) -> dict[str, list[str]]:
    """Return the headers sent to the upstream, by lower-case name."""
    passed = upstream_headers(
        headers, token=token, address="10.1.2.3", scheme="http", request_id="request-1"
    )
    return {name.lower(): passed.getall(name) for name in passed}


OURS = {
    "x-forwarded-for": ["10.1.2.3"],
    "x-forwarded-proto": ["http"],
    "x-request-id": ["request-1"],
}


@pytest.mark.parametrize(
    "name",
    [
        b"x-user-id",
        b"x_user_id",
        b"x.user.id",
        b"x-user-roles",
        b"x-email",
        b"x-authenticated-user",
        b"x-auth-request-email",
        b"remote-user",
        b"remote_user",
        b"x-real-ip",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded-user",
        b"x_forwarded_for",
        b"forwarded",
        b"x-original-url",
        b"x-rewrite-url",
        b"x-http-method-override",
        b"x-request-id",
        b"authorization",
        b"authorization_",
        b"proxy-authorization",
        b"proxy-connection",
        b"cookie",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"content-length",
        b"keep-alive",
        b"upgrade",
        b"connection",
        b"host",
        b"expect",
        b"via",
        b"baggage",
        b"idempotency_key",
        b"content_type",
    ],
)
def test_promise_43_gateway_headers_of_the_caller_are_dropped(name: bytes) -> None:
    assert sent([(name, b"forged"), (name, b"twice")]) == OURS


def test_allowed_request_headers_are_forwarded_unchanged() -> None:
    given: RawHeaders = [
        (b"accept", b"text/event-stream"),
        (b"accept", b"application/json"),
        (b"content-type", b"application/json"),
        (b"idempotency-key", b"a key"),
        (b"if-none-match", b'"1"'),
        (b"user-agent", "Prüfer/1.0 ✓".encode()),
    ]
    assert sent(given) == OURS | {
        "accept": ["text/event-stream", "application/json"],
        "content-type": ["application/json"],
        "idempotency-key": ["a key"],
        "if-none-match": ['"1"'],
        "user-agent": ["Prüfer/1.0 ✓"],
    }


def test_forwarded_token_is_the_verified_one() -> None:
    given: RawHeaders = [(b"authorization", b"bearer   abc")]
    assert sent(given, token="abc")["authorization"] == ["Bearer abc"]


@pytest.mark.parametrize(
    "named", [b"Authorization", b"close, authorization", b"Idempotency-Key", b"HOST", b"x,Accept"]
)
def test_promise_47_connection_header_cannot_remove_essential_headers(
    named: bytes,
) -> None:
    with pytest.raises(InvalidConnectionHeader):
        sent([(b"connection", b"keep-alive"), (b"connection", named)])


def test_connection_header_may_name_dropped_headers() -> None:
    given: RawHeaders = [(b"connection", b"close, X-User-Id, TE"), (b"x-user-id", b"1")]
    assert sent(given) == OURS


def test_only_listed_response_headers_reach_the_client() -> None:
    given = [
        (b"Content-Type", b"application/json"),
        (b"ETag", b'"1"'),
        (b"Link", b'</api/orders?cursor=1>; rel="next"'),
        (b"Server", b"uvicorn"),
        (b"Set-Cookie", b"session=1"),
        (b"Location", b"http://order-service:8002/"),
        (b"X-Powered-By", b"PHP"),
        (b"X-Internal-Host", b"10.0.0.1"),
        (b"X-Trace-Id", b"1"),
        (b"X-Request-ID", b"1"),
        (b"Connection", b"keep-alive"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Trailer", b"X"),
        (b"Upgrade", b"h2c"),
        (b"Proxy-Authenticate", b"Basic"),
        (b"RateLimit", b"r=1"),
        (b"Access-Control-Allow-Origin", b"*"),
    ]
    assert [name for name, _ in response_headers(given)] == [b"content-type", b"etag", b"link"]


@pytest.mark.parametrize(
    ("location", "passes"),
    [
        (b"/api/products/7", True),
        (b"/", True),
        (b"http://order-service:8002/api/orders/7", False),
        (b"//order-service:8002/", False),
        (b"/\\order-service:8002/", False),
        (b"api/orders/7", False),
    ],
)
def test_location_is_forwarded_only_as_a_path(location: bytes, passes: bool) -> None:
    expected = [(b"location", location)] if passes else []
    assert response_headers([(b"Location", location)]) == expected
