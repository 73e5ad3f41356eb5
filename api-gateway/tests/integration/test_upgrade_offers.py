"""Promise 68 at the gateway: a request with an upgrade offer gets exactly one response."""

import asyncio

import pytest

from tests.fakes import FakeProvider, FakeUpstream
from tests.gateways import Gateway, replies

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n"
OFFERS = {
    "h2c": H2C,
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "an unknown protocol": b"Connection: keep-alive, upgrade\r\nUpgrade: IRC/6.9, RTA/x11\r\n",
}
BODY = b"GET /api/products/hidden HTTP/1.1\r\nHost: g\r\n\r\n"


@pytest.fixture
def order_head(provider: FakeProvider) -> bytes:
    """The head of an order by alice, without its last line."""
    token = provider.token().encode()
    return b"POST /api/orders HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %b\r\n" % token


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_promise_68_post_with_an_offer_reaches_the_service_once_with_its_body(
    gateway: Gateway, upstream: FakeUpstream, order_head: bytes, offer: bytes, framing: str
) -> None:
    """The body arrives 100 ms after the head and has the form of a request."""
    if framing == "length":
        head, body = b"Content-Length: %d\r\n" % len(BODY), BODY
    else:
        head, body = b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    reader, writer = await gateway.connect()
    writer.write(order_head + head + offer + b"\r\n")
    await asyncio.sleep(0.1)  # the pause between head and body is the input
    writer.write(body)
    writer.write(b"GET /api/products HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n")
    async with asyncio.timeout(10):
        answers = replies(await reader.read())
    assert [answer.status for answer in answers] == [200, 200]
    assert [(seen.method, seen.target) for seen in upstream.requests] == [
        ("POST", b"/api/orders"),
        ("GET", b"/api/products"),
    ]
    order = upstream.requests[0]
    assert order.body == BODY
    assert [order.all(name) for name in ("upgrade", "http2-settings", "connection")] == [[], [], []]


async def test_promise_68_refused_request_with_an_offer_gets_one_response(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    """No token: the 401 is the only response, and the body is not read as a request."""
    head = b"POST /api/orders HTTP/1.1\r\nHost: g\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n"
    answers = replies(await gateway.raw(head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY))
    assert [answer.status for answer in answers] == [401]
    assert upstream.requests == []


async def test_head_with_an_offer_is_still_bounded(gateway: Gateway) -> None:
    """Promise 52 holds for the head that is parsed a second time."""
    filler = b"X-Filler: %b\r\n" % (b"x" * 40_000)
    head = b"GET /api/products HTTP/1.1\r\nHost: g\r\n" + filler + OFFERS["h2c"] + b"\r\n"
    answers = replies(await gateway.raw(head))
    assert [answer.status for answer in answers] == [431]


@pytest.mark.parametrize("target", [b"example.com:443", b"/api/products"])
async def test_connect_is_refused_once_and_ends_the_connection(
    gateway: Gateway, upstream: FakeUpstream, target: bytes
) -> None:
    request = b"CONNECT %b HTTP/1.1\r\nHost: g\r\n\r\n" % target
    answers = replies(await gateway.raw(request + BODY))
    assert [answer.status for answer in answers] == [400]
    answers[0].problem()
    assert upstream.requests == []
