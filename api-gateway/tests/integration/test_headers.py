"""Promises 43 and 47 over real connections, for requests and responses."""

import asyncio
import gzip

import pytest

from tests.conftest import MakeGateway
from tests.fakes import FakeProvider, FakeUpstream, Seen, Wire, answering
from tests.gateways import Gateway

SPELLINGS = ["X-User-Id", "x_user_id", "X.User.Id", "X-USER-ID", "Remote-User", "X-Forwarded-User"]


@pytest.mark.parametrize("signed_in", [False, True])
async def test_promise_43_identity_headers_of_any_spelling_are_dropped(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider, signed_in: bool
) -> None:
    forged = [(name, "admin") for name in SPELLINGS for _ in range(2)]
    forged += [("Connection", "X-User-Id"), ("X-Forwarded-For", "6.6.6.6")]
    forged += [("Forwarded", "for=6.6.6.6;host=evil"), ("X-Forwarded-Host", "evil")]
    forged += [("X-Forwarded-Proto", "https"), ("X-Real-IP", "6.6.6.6"), ("Via", "1.1 evil")]
    token = provider.token() if signed_in else None
    assert (await gateway.ask("/api/products", headers=forged, token=token)).status == 200
    [seen] = upstream.requests
    assert {name.lower() for name, _ in seen.headers} - {b"authorization"} == {
        b"host",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"x-request-id",
        b"traceparent",
    }
    assert seen.header("x-forwarded-for") == "127.0.0.1"
    assert seen.header("x-forwarded-proto") == "http"
    assert seen.header("authorization") == (f"Bearer {token}" if token else None)


async def test_promise_43_trailers_do_not_become_headers(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    """Trailers sent with the head, and trailers sent after the head was read."""
    head = (
        "POST /api/orders HTTP/1.1\r\nHost: g\r\nConnection: close\r\n"
        f"Authorization: Bearer {provider.token()}\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    trailers = b"0\r\nX-User-Id: admin\r\nIdempotency-Key: x\r\nAuthorization: Bearer x\r\n\r\n"
    for pieces in ([head + b"2\r\n{}\r\n" + trailers], [head, b"2\r\n{}\r\n", trailers]):
        reader, writer = await gateway.connect()
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)  # separate TCP segments
        assert b" 200 " in await reader.readline()
        writer.close()
    assert [seen.body for seen in upstream.requests] == [b"{}", b"{}"]
    for seen in upstream.requests:
        assert seen.header("idempotency-key") is None
        assert seen.header("x-user-id") is None
        assert str(seen.header("authorization")).startswith("Bearer ey")


async def test_promise_47_connection_header_cannot_remove_the_token(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    headers = {"Connection": "close, Authorization"}
    answer = await gateway.ask("/api/products", headers=headers, token=provider.token())
    assert answer.status == 400
    answer.problem()
    assert upstream.requests == []


async def test_promise_47_hop_by_hop_headers_are_not_forwarded(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script = answering(
        headers=[
            (b"Server", b"uvicorn"),
            (b"Set-Cookie", b"session=1"),
            (b"Location", b"http://10.0.0.1:8001/"),
            (b"Connection", b"keep-alive, X-Hop"),
            (b"Keep-Alive", b"timeout=5"),
            (b"X-Hop", b"1"),
            (b"Proxy-Authenticate", b"Basic"),
            (b"Upgrade", b"h2c"),
            (b"ETag", b'"1"'),
        ]
    )
    headers = {"TE": "trailers", "Upgrade": "h2c", "Proxy-Authorization": "x", "Cookie": "a=1"}
    headers |= {"Keep-Alive": "300", "Proxy-Connection": "close", "Expect": "100-continue"}
    raw = await gateway.ask("/api/products", headers={**headers, "Accept": "x/y"})
    assert raw.status == 200
    assert {name for name, _ in upstream.requests[0].headers} == {
        b"Host",
        b"Accept",
        b"X-Forwarded-For",
        b"X-Forwarded-Proto",
        b"X-Request-ID",
        b"traceparent",
    }
    assert {name for name, _ in raw.headers} == {
        "etag",
        "content-length",
        "content-type",
        "connection",
        "date",
        "x-trace-id",
        "x-request-id",
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "ratelimit",
        "ratelimit-policy",
    }
    assert raw.header("connection") == "close"


@pytest.mark.parametrize("path", ["/api/products", "/health", "/nothing", "/api/no", "/a/../b"])
async def test_promise_47_every_response_has_security_headers_and_no_server(
    gateway: Gateway, path: str
) -> None:
    answer = await gateway.ask(path)
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("x-frame-options") == "DENY"
    assert answer.header("server") is None


async def test_responses_with_personal_data_are_not_cacheable(
    gateway: Gateway, provider: FakeProvider
) -> None:
    token = provider.token()
    assert (await gateway.ask("/api/orders/me", token=token)).header("cache-control") == "no-store"
    assert (await gateway.ask("/api/orders/me")).header("cache-control") == "no-store"
    assert (await gateway.ask("/api/products")).header("cache-control") is None


async def test_cache_control_of_a_service_reaches_the_client(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script = answering(304, b"", [(b"Cache-Control", b"max-age=5"), (b"ETag", b'"7"')])
    answer = await gateway.ask("/api/products", headers={"If-None-Match": '"7"'})
    assert (answer.status, answer.header("etag")) == (304, '"7"')
    assert answer.header("cache-control") == "max-age=5"
    assert upstream.requests[0].header("if-none-match") == '"7"'


async def test_only_a_valid_request_id_is_accepted(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    for given in ["order-7", "x" * 129, "a b", "a,b", "", "é"]:
        upstream.reset()
        answer = await gateway.ask("/api/products", headers={"X-Request-ID": given})
        used = upstream.requests[0].header("x-request-id")
        assert used == answer.header("x-request-id")
        assert (used == given) is (given == "order-7")
        assert used == (given if given == "order-7" else answer.header("x-trace-id"))


async def test_trace_of_the_caller_continues_with_the_gateways_span_as_parent(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "tracestate": "vendor=1"}
    answer = await gateway.ask("/api/products", headers=headers)
    sent = str(upstream.requests[0].header("traceparent")).split("-")
    assert (sent[1], answer.header("x-trace-id")) == (trace, trace)
    assert sent[2] != "00f067aa0ba902b7"
    assert upstream.requests[0].header("tracestate") == "vendor=1"


@pytest.mark.parametrize("parent", ["", "garbage", "00-0-0-01"])
async def test_vendor_state_without_a_valid_trace_is_dropped(
    gateway: Gateway, upstream: FakeUpstream, parent: str
) -> None:
    headers = {"traceparent": parent, "tracestate": "vendor=1"}
    answer = await gateway.ask("/api/products", headers=headers)
    sent = str(upstream.requests[0].header("traceparent")).split("-")
    assert sent[1] == answer.header("x-trace-id")
    assert upstream.requests[0].header("tracestate") is None


@pytest.mark.parametrize(
    "value", [b"a\rSet-Cookie: x=1", b"a\x00b", b"a\x01b", b"a\x7fb", b"a\nSet-Cookie: x=1"]
)
async def test_promise_47_service_cannot_inject_headers(
    gateway: Gateway, upstream: FakeUpstream, value: bytes
) -> None:
    async def script(seen: Seen, wire: Wire) -> None:
        await wire.send(b"HTTP/1.1 200 OK\r\nETag: %b\r\nContent-Length: 2\r\n\r\n{}" % value)
        wire.drop()

    upstream.script = script
    answer = await gateway.ask("/api/products")
    assert answer.header("set-cookie") is None
    if answer.status == 502:
        answer.problem()
    else:
        assert (value[:2], answer.header("etag")) == (b"a\n", "a")  # Set-Cookie is not forwarded


async def test_forwarded_headers_count_only_from_a_trusted_proxy(
    gateway_of: MakeGateway, upstream: FakeUpstream
) -> None:
    headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7", "X-Forwarded-Proto": "https"}
    trusting = gateway_of(trusted_proxies=("127.0.0.1",))
    wary = gateway_of(trusted_proxies=("10.0.0.0/8",))
    for gateway in (trusting, wary):
        assert (await gateway.ask("/api/products", headers=headers)).status == 200
    told = [(s.header("x-forwarded-for"), s.header("x-forwarded-proto")) for s in upstream.requests]
    assert told == [("203.0.113.7", "https"), ("127.0.0.1", "http")]


CONDITIONS = {
    "If-Match": '"7"',
    "If-None-Match": '"7", W/"8"',
    "If-Modified-Since": "Mon, 30 Nov 2026 12:00:00 GMT",
    "If-Unmodified-Since": "Mon, 30 Nov 2026 12:00:00 GMT",
    "Last-Event-ID": "41",
    "Accept-Encoding": "gzip, br",
    "Idempotency-Key": "key-1",
    "Prefer": "return=minimal",
}


@pytest.mark.parametrize(("method", "status"), [("GET", 304), ("PUT", 412)])
async def test_conditions_reach_the_service_and_its_etag_the_client(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider, method: str, status: int
) -> None:
    upstream.script = answering(status, b"", [(b"ETag", b'"9"'), (b"Vary", b"Accept")])
    token = provider.token("admin", "admin")
    answer = await gateway.ask("/api/products/7", method=method, headers=CONDITIONS, token=token)
    [seen] = upstream.requests
    assert {name: seen.header(name) for name in CONDITIONS} == CONDITIONS
    assert (answer.status, answer.header("etag")) == (status, '"9"')
    assert answer.header("vary") == "Accept"


async def test_compressed_body_reaches_the_service_as_it_came_and_its_415_the_client(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    """The service needs Content-Encoding to recognise and refuse the compressed body."""
    upstream.script = answering(415, headers=[(b"Accept-Encoding", b"identity")])
    body = gzip.compress(b"{}")
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = await gateway.ask(
        "/api/orders", method="POST", headers=headers, body=body, token=provider.token()
    )
    [seen] = upstream.requests
    assert (seen.body, seen.header("content-encoding")) == (body, "gzip")
    assert (answer.status, answer.header("accept-encoding")) == (415, "identity")
