"""Promise 46 over raw sockets: a path reaches the service byte for byte or not at all."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import FakeUpstream
from tests.gateways import Gateway, replies

REFUSED = {
    b"/api/products/../../admin": 400,
    b"/api/products/..": 400,
    b"/api/products/.": 400,
    b"/api/products/%2e%2e/%2e%2e/metrics": 400,
    b"/api/products/.%2E/health": 400,
    b"/api/products/..%2f..%2fadmin": 400,
    b"/api/products/a%2Fb": 400,
    b"/api/products/..%5c..%5cadmin": 400,
    b"/api/products/..\\..\\admin": 400,
    b"/api//products": 400,
    b"//api/products": 400,
    b"//evil.example/api/products": 400,
    b"/api/products//": 400,
    b"/api/products;v=1": 400,
    b"/api/products/..;/admin": 400,
    b"/api/products/a%00b": 400,
    b"/api/products/a%0d%0aX-User-Id:1": 400,
    b"/api/products/\x01": 400,
    b"/api/products/\x7f": 400,
    b"/api/products/\xc3\xa9": 400,
    b"/api/products/%ff": 400,
    b"/api/products/%c0%ae%c0%ae": 400,
    b"/api/products/%zz": 400,
    b"/api/products/" + b"a" * 5000: 400,
    b"/api/products?q=" + b"a" * 5000: 400,
    b"/api/products?q=\xff": 400,
    b"/api/products#fragment": 400,
    b"/api/products?q=1#/../admin": 400,
    b"*": 400,
    b"gateway:9000": 400,
    b"api/products": 400,
    b"?q=1": 400,
    b"http://gateway/api/products/../metrics": 400,
    b"http://gateway/../metrics": 400,
    b"http:///api/products": 400,
    b"ftp:/api/products": 400,
    b"/api": 404,
    b"/api/": 404,
    b"/API/products": 404,
    b"/api/Products": 404,
    b"/api/products/": 404,
    b"/api/orders/": 404,
    b"/api/health": 404,
    b"/metrics": 404,
    b"/internal": 404,
    b"/x/api/products": 404,
    b"http://gateway/metrics": 404,
}


@pytest.mark.parametrize("target", REFUSED)
async def test_promise_46_path_traversal_reaches_no_service(
    gateway: Gateway, upstream: FakeUpstream, target: bytes
) -> None:
    answer = await gateway.ask(target)
    assert answer.status == REFUSED[target]
    answer.problem()
    assert upstream.requests == []


@pytest.mark.parametrize(
    "target",
    [
        b"/api/products",
        b"/api/products?",
        b"/api/products?q=a%20b&q=%00&c[]=..//..;\\'\"{}|^`",
        b"/api/products/%6De",
        b"/api/products/a%20b%25%3F%23",
        b"/api/products/%252e%252e%252fadmin",
        b"/api/products/...",
        b"/api/products/%e2%9c%93",
        b"/%61pi/products/search?q=x",
    ],
)
async def test_promise_46_accepted_path_arrives_byte_for_byte(
    gateway: Gateway, upstream: FakeUpstream, target: bytes
) -> None:
    assert (await gateway.ask(target)).status == 200
    assert [seen.target for seen in upstream.requests] == [target.removesuffix(b"?")]


async def test_absolute_form_reaches_the_service_as_path_and_query(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    """RFC 9112, section 3.2.2: a server must accept the absolute form. Its host is ignored."""
    assert (await gateway.ask("http://evil.example/api/products?q=1")).status == 200
    assert [seen.target for seen in upstream.requests] == [b"/api/products?q=1"]
    assert upstream.requests[0].header("host") == f"127.0.0.1:{upstream.port}"


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "PROPFIND", "get", "OPTIONS"])
async def test_method_without_policy_reaches_no_service(
    gateway: Gateway, upstream: FakeUpstream, method: str
) -> None:
    answer = await gateway.ask("/api/products", method=method)
    assert answer.status in (400, 405)
    if answer.status == 405:
        assert answer.header("allow") == "GET, HEAD, POST"
    assert upstream.requests == []


random_targets = st.lists(
    st.sampled_from(
        b"/api /products /orders /me /.. /. // /%2e%2e %2f %5c \\ ; %00 %61 api products a ? # "
        b"http: //host @ : /metrics /health /docs %ff \xff .. . = &".split(b" ")
    ),
    max_size=8,
).map(lambda parts: b"/" + b"".join(parts))


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(targets=st.lists(random_targets, min_size=1, max_size=4))
def test_promise_46_no_path_outside_api_reaches_a_service(
    gateway: Gateway, upstream: FakeUpstream, targets: list[bytes]
) -> None:
    upstream.reset()
    for target in targets:
        raw = asyncio.run(gateway.raw(b"GET %b HTTP/1.0\r\n\r\n" % target))
        assert next(iter(replies(raw))).status in (200, 400, 401, 404, 405)
    for seen in upstream.requests:
        assert seen.target in [target.removesuffix(b"?") for target in targets]
        assert seen.target.startswith(b"/api/")
        assert not any(bad in seen.target.partition(b"?")[0] for bad in (b"..", b"//", b";", b"\\"))
