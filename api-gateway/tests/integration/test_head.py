"""HEAD through the gateway: as GET, without the body (RFC 9110, section 9.3.2)."""

import pytest

from tests.conftest import MakeGateway
from tests.fakes import FakeProvider, FakeUpstream, answering
from tests.gateways import SCRAPE_TOKEN, Gateway

VARYING = {"date", "x-trace-id", "x-request-id", "ratelimit"}


async def test_head_is_forwarded_as_head_with_the_headers_of_the_answer(
    gateway: Gateway, upstream: FakeUpstream
) -> None:
    upstream.script = answering(body=b"x" * 17, headers=[(b"ETag", b'"1"')])
    answer = await gateway.ask("/api/products?page=2", method="HEAD")
    [seen] = upstream.requests
    assert (seen.method, seen.target) == ("HEAD", b"/api/products?page=2")
    assert (answer.status, answer.body) == (200, b"")
    assert (answer.header("content-length"), answer.header("etag")) == ("17", '"1"')


@pytest.mark.parametrize(
    "path", ["/health", "/health/ready", "/docs", "/docs/swagger-ui.css", "/nothing"]
)
async def test_head_of_the_gateways_own_pages_has_the_headers_of_get(
    gateway: Gateway, path: str
) -> None:
    get, head = await gateway.ask(path), await gateway.ask(path, method="HEAD")
    assert (head.status, head.body) == (get.status, b"")
    names = [{name for name, _ in answer.headers} for answer in (get, head)]
    assert names[0] == names[1]
    if path != "/health/ready":  # its body contains durations
        assert head.header("content-length") == str(len(get.body))


async def test_head_of_the_metrics_needs_the_scrape_token(gateway: Gateway) -> None:
    assert (await gateway.ask("/metrics", method="HEAD", token=SCRAPE_TOKEN)).status == 200
    assert (await gateway.ask("/metrics", method="HEAD")).status == 404


@pytest.mark.parametrize("path", ["/api/orders/me", "/api/inventory", "/api/ai/recommendations"])
async def test_head_requires_the_role_of_get(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider, path: str
) -> None:
    for token, status in ((None, 401), (provider.token("admin", "admin"), 200)):
        answer = await gateway.ask(path, method="HEAD", token=token)
        assert (answer.status, answer.body) == (status, b"")
        assert answer.header("cache-control") == "no-store"
    assert [seen.method for seen in upstream.requests] == ["HEAD"]


async def test_head_of_an_admin_list_returns_403_for_a_customer(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    answer = await gateway.ask("/api/orders", method="HEAD", token=provider.token())
    assert answer.status == 403
    assert upstream.requests == []


async def test_head_counts_against_the_limit(gateway_of: MakeGateway) -> None:
    gateway = gateway_of(rate_limit_default="2/hour")
    statuses = [(await gateway.ask("/api/products", method="HEAD")).status for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_allow_of_405_names_head_beside_get(gateway: Gateway, provider: FakeProvider) -> None:
    token = provider.token("admin", "admin")
    answer = await gateway.ask("/api/products/1", method="PATCH", token=token)
    assert (answer.status, answer.header("allow")) == (405, "DELETE, GET, HEAD, PUT")
    answer = await gateway.ask("/api/ai/chat", method="HEAD", token=token)
    assert (answer.status, answer.header("allow")) == (405, "POST")
    answer = await gateway.ask("/health", method="DELETE")
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")
