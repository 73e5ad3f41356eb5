"""Promise 45 over raw sockets: requests with ambiguous framing are refused."""

import asyncio

import pytest

from tests.fakes import FakeProvider, FakeUpstream, Seen, Wire
from tests.gateways import Gateway, replies

HIDDEN = b"GET /api/products/hidden HTTP/1.1\r\nHost: g\r\n\r\n"


def post(head: bytes, body: bytes) -> bytes:
    """Return an order by alice that hides a second request behind an ambiguous head."""
    return b"POST /api/orders HTTP/1.1\r\nHost: g\r\n" + head + b"\r\n\r\n" + body


CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
DOUBTFUL = {
    "both lengths": post(b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"0\r\n\r\n" + HIDDEN),
    "both lengths, the other way": post(
        b"Transfer-Encoding: chunked\r\nContent-Length: 60", b"0\r\n\r\n" + HIDDEN
    ),
    "two lengths": post(b"Content-Length: 5\r\nContent-Length: 0", b"hello" + HIDDEN),
    "the same length twice": post(b"Content-Length: 5\r\nContent-Length: 5", b"hello" + HIDDEN),
    "a list of lengths": post(b"Content-Length: 5, 5", b"hello" + HIDDEN),
    "a signed length": post(b"Content-Length: +5", b"hello" + HIDDEN),
    "a negative length": post(b"Content-Length: -1", b"hello" + HIDDEN),
    "a hexadecimal length": post(b"Content-Length: 0x5", b"hello" + HIDDEN),
    "an empty length": post(b"Content-Length:", b"hello" + HIDDEN),
    "a length beyond 64 bits": post(b"Content-Length: 18446744073709551621", b"hello" + HIDDEN),
    "an unknown coding": post(b"Transfer-Encoding: xchunked", CHUNKED + HIDDEN),
    "a coding after chunked": post(b"Transfer-Encoding: chunked, identity", CHUNKED + HIDDEN),
    "chunked not last": post(b"Transfer-Encoding: chunked, gzip", CHUNKED + HIDDEN),
    "identity": post(b"Transfer-Encoding: identity", CHUNKED + HIDDEN),
    "a coding on a second line": post(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", CHUNKED + HIDDEN
    ),
    "a control character in the coding": post(b"Transfer-Encoding: \x0bchunked", CHUNKED + HIDDEN),
    "a space before the colon": post(b"Transfer-Encoding : chunked", CHUNKED + HIDDEN),
    "a space before the length's colon": post(b"Content-Length : 5", b"hello" + HIDDEN),
    "a tab before the colon": post(b"Content-Length\t: 5", b"hello" + HIDDEN),
    "a folded line": post(b"X: 1\r\n Content-Length: 5", b"hello" + HIDDEN),
    "a folded coding": post(b"Transfer-Encoding:\r\n chunked", CHUNKED + HIDDEN),
    "a folded first line": post(b" Content-Length: 5", b"hello" + HIDDEN),
    "a bare line feed": post(b"X: 1\nContent-Length: 5", b"hello" + HIDDEN),
    "bare line feeds only": post(b"Content-Length: 5", b"hello" + HIDDEN).replace(b"\r\n", b"\n"),
    "a bare carriage return": post(b"X: 1\rContent-Length: 5", b"hello" + HIDDEN),
    "a NUL in a value": post(b"X: a\x00b\r\nContent-Length: 5", b"hello" + HIDDEN),
    "a NUL in a name": post(b"Content-Length\x00: 5", b"hello" + HIDDEN),
    "no name": post(b": 1\r\nContent-Length: 5", b"hello" + HIDDEN),
    "no colon": post(b"Content-Length 5", b"hello" + HIDDEN),
    "a chunk size with a sign": post(b"Transfer-Encoding: chunked", b"+5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size with a prefix": post(b"Transfer-Encoding: chunked", b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a chunk size beyond 64 bits": post(
        b"Transfer-Encoding: chunked", b"10000000000000005\r\nhello\r\n0\r\n\r\n" + HIDDEN
    ),
    "a chunk ended by a line feed": post(b"Transfer-Encoding: chunked", b"5\nhello\n0\n\n"),
    "a chunk longer than it says": post(
        b"Transfer-Encoding: chunked", b"3\r\nhello\r\n0\r\n\r\n" + HIDDEN
    ),
    "a line feed in a chunk extension": post(
        b"Transfer-Encoding: chunked", b"5;a\nhello\r\n0\r\n\r\n" + HIDDEN
    ),
    "HTTP/2 in plain": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /api/products\r\n\r\n",
    "an unknown version": b"GET /api/products HTTP/1.9\r\nHost: g\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64,
}


@pytest.mark.parametrize("request_", DOUBTFUL.values(), ids=DOUBTFUL.keys())
async def test_promise_45_ambiguous_request_is_400_and_ends_the_connection(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider, request_: bytes
) -> None:
    authorized = request_.replace(
        b"/api/orders HTTP/1.1\r\n",
        b"/api/orders HTTP/1.1\r\nAuthorization: Bearer %b\r\n" % provider.token().encode(),
    )
    answers = replies(await gateway.raw(authorized, seconds=3))
    assert [answer.status for answer in answers] == [400]
    answers[0].problem()
    assert answers[0].header("connection") == "close"
    assert upstream.complete == 0
    assert b"hidden" not in b"".join(seen.target for seen in upstream.requests)


async def test_pipelined_requests_are_answered_in_order(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    async def echo(seen: Seen, wire: Wire) -> None:
        await wire.answer(body=seen.target)

    upstream.script = echo
    request = b"GET /api/products/%d HTTP/1.1\r\nHost: g\r\n%b\r\n"
    raw = b"".join(request % (n, b"") for n in range(9)) + request % (9, b"Connection: close\r\n")
    answers = replies(await gateway.raw(raw))
    assert [answer.body for answer in answers] == [b"/api/products/%d" % n for n in range(10)]


async def test_promise_45_malformed_next_request_does_not_alter_a_response(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    """The client would read the refusal as part of the unfinished response."""
    loop = asyncio.get_running_loop()
    begun = asyncio.Event()

    async def in_two_parts(seen: Seen, wire: Wire) -> None:
        await wire.begin_chunks()
        await wire.chunk(b"first")
        loop.call_soon_threadsafe(begun.set)
        await wire.until_gone()

    upstream.script = in_two_parts
    reader, writer = await gateway.connect()
    writer.write(b"GET /api/products HTTP/1.1\r\nHost: g\r\n\r\n")
    async with asyncio.timeout(5):
        await begun.wait()
        head = await reader.readuntil(b"first\r\n")
        writer.write(b"garbage\r\n\r\n")
        rest = await reader.read()
    writer.close()
    assert b"200" in head
    assert rest == b""
