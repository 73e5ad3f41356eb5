"""Promise 68: a request with an upgrade offer gets one response, as without the offer.

The services speak HTTP/1.1 alone, so they ignore the offer (RFC 9110, section 7.8). Raw sockets,
because an HTTP client would not send most of this.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from chassis.app.graceful_shutdown import DrainingProtocol

H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n"
OFFERS = {
    "h2c": H2C,
    "h2c, names in another case": H2C.replace(b"Upgrade", b"UPGRADE"),
    "h2c after the body's length": b"X-Before: 1\r\n" + H2C,
    "websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "TLS": b"Connection: upgrade\r\nUpgrade: TLS/1.0\r\n",
    "an unknown protocol": b"Connection: keep-alive, upgrade\r\nUpgrade: IRC/6.9, RTA/x11\r\n",
    "several headers": b"Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
    "an empty offer": b"Connection: upgrade\r\nUpgrade: \r\n",
}
BODY = b'{"order": "GET /hidden HTTP/1.1"}'
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the method, path and body of the request, as JSON."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    seen = [scope["type"], scope["method"], scope["path"], body.decode()]
    content = json.dumps(seen).encode()
    headers = [(b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture(scope="module")
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(
        echo, port=0, http=DrainingProtocol, lifespan="off", log_config=None, timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await task


async def exchange(port: int, *parts: bytes) -> bytes:
    """Send each part as a separate segment; return all bytes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(10):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.02)  # the pause between two segments is the input
            return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def answers(raw: bytes) -> list[object]:
    """Return the echoed requests in `raw`, and the status line of each response other than 200."""
    found: list[object] = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode().lower().split("\r\n")
        if status.startswith("http/1.1 100"):
            continue
        headers = dict(line.split(": ", 1) for line in lines)
        size = int(headers["content-length"])
        body, raw = raw[:size], raw[size:]
        found.append(json.loads(body) if " 200 " in status else status)
    return found


def post(offer: bytes, body: bytes = BODY, *, close: bool = True) -> bytes:
    ending = b"Connection: close\r\n" if close else b""
    length = b"Content-Length: %d\r\n" % len(body)
    return b"POST /a HTTP/1.1\r\nHost: a\r\n" + length + offer + ending + b"\r\n" + body


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
class TestEachOffer:
    async def test_post_with_an_offer_keeps_its_body(self, port: int, offer: bytes) -> None:
        expected = [["http", "POST", "/a", BODY.decode()]]
        assert answers(await exchange(port, post(offer))) == expected

    async def test_body_that_arrives_later_is_not_read_as_a_request(
        self, port: int, offer: bytes
    ) -> None:
        head = post(offer, HIDDEN).removesuffix(HIDDEN)
        expected = [["http", "POST", "/a", HIDDEN.decode()]]
        assert answers(await exchange(port, head, HIDDEN)) == expected

    async def test_head_that_arrives_in_pieces_keeps_its_offer_ignored(
        self, port: int, offer: bytes
    ) -> None:
        whole = post(offer)
        cut = whole.index(b"\r\n\r\n")
        parts = (whole[:20], whole[20 : cut - 10], whole[cut - 10 : cut + 2], whole[cut + 2 :])
        assert answers(await exchange(port, *parts)) == [["http", "POST", "/a", BODY.decode()]]

    async def test_chunked_post_with_an_offer_keeps_its_body(self, port: int, offer: bytes) -> None:
        head = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + offer
        chunks = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        expected = [["http", "POST", "/a", "hello world"]]
        assert answers(await exchange(port, head + b"\r\n", chunks)) == expected

    async def test_get_with_an_offer_leaves_the_connection_open(
        self, port: int, offer: bytes
    ) -> None:
        get = b"GET /%d HTTP/1.1\r\nHost: a\r\n%b\r\n"
        requests = [get % (n, offer) for n in range(3)]
        expected = [["http", "GET", f"/{n}", ""] for n in range(3)]
        expected.append(["http", "POST", "/a", BODY.decode()])
        assert answers(await exchange(port, *requests, post(offer))) == expected

    async def test_pipelined_requests_with_offers_are_answered_in_order(
        self, port: int, offer: bytes
    ) -> None:
        requests = b"".join(post(offer, b"%d" % n, close=n == 199) for n in range(200))
        expected = [["http", "POST", "/a", f"{n}"] for n in range(200)]
        assert answers(await exchange(port, requests)) == expected

    async def test_expect_100_continue_with_an_offer_is_answered(
        self, port: int, offer: bytes
    ) -> None:
        head = post(offer + b"Expect: 100-continue\r\n").removesuffix(BODY)
        raw = await exchange(port, head, BODY)
        assert raw.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert answers(raw) == [["http", "POST", "/a", BODY.decode()]]


async def test_offer_of_an_http_1_0_request_is_ignored(port: int) -> None:
    request = post(OFFERS["h2c"]).replace(b"HTTP/1.1\r\nHost", b"HTTP/1.0\r\nHost")
    raw = await exchange(port, request, HIDDEN)
    assert answers(raw) == [["http", "POST", "/a", BODY.decode()]]


@pytest.mark.parametrize("target", [b"example.com:443", b"/a", b"127.0.0.1:80"])
async def test_connect_is_refused_once_and_ends_the_connection(port: int, target: bytes) -> None:
    request = b"CONNECT %b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n" % target
    assert answers(await exchange(port, request, HIDDEN)) == ["http/1.1 400 bad request"]


async def test_ambiguous_framing_with_an_offer_is_400(port: int) -> None:
    both = b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"
    request = b"POST /a HTTP/1.1\r\nHost: a\r\n" + both + OFFERS["h2c"] + b"\r\n0\r\n\r\n" + HIDDEN
    assert answers(await exchange(port, request)) == ["http/1.1 400 bad request"]


async def test_offer_logs_no_warning(port: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        await exchange(port, post(OFFERS["h2c"]))
    assert caplog.records == []
