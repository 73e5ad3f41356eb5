"""Requests of browsers and operators to the gateway itself."""

import base64
import hashlib
import json
import re

import pytest

from tests.conftest import MakeGateway
from tests.fakes import FakeProvider, FakeUpstream, answering
from tests.gateways import SCRAPE_TOKEN, Gateway

SHOP = "https://shop.example"


@pytest.fixture
def shop(gateway_of: MakeGateway) -> Gateway:
    return gateway_of(cors_origins=(SHOP, "http://localhost:5173"), rate_limit_default="5/hour")


async def test_preflight_of_the_storefront_is_allowed(
    shop: Gateway, upstream: FakeUpstream
) -> None:
    headers = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
    }
    answer = await shop.ask("/api/orders/1/cancel", method="OPTIONS", headers=headers)
    assert answer.status == 200
    assert answer.header("access-control-allow-origin") == SHOP
    assert "PATCH" in str(answer.header("access-control-allow-methods"))
    assert "Idempotency-Key" in str(answer.header("access-control-allow-headers"))
    assert answer.header("access-control-allow-credentials") is None
    assert upstream.requests == []


ASKED_FOR = [
    *("traceparent", "tracestate", "baggage", "if-match", "if-none-match", "if-modified-since"),
    *("if-unmodified-since", "last-event-id", "idempotency-key", "x-request-id", "prefer"),
    *("accept", "accept-language", "content-type", "authorization"),
]


@pytest.mark.parametrize("asked", [*ASKED_FOR, ", ".join(ASKED_FOR), ",".join(ASKED_FOR).upper()])
async def test_preflight_of_a_header_that_the_gateway_reads_is_allowed(
    shop: Gateway, asked: str
) -> None:
    headers = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": asked,
    }
    answer = await shop.ask("/api/products/1", method="OPTIONS", headers=headers)
    assert answer.status == 200, answer.body
    allowed = str(answer.header("access-control-allow-headers")).lower().split(", ")
    assert {name.strip().lower() for name in asked.split(",")} <= set(allowed)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
async def test_preflight_of_each_method_is_allowed(shop: Gateway, method: str) -> None:
    headers = {"Origin": SHOP, "Access-Control-Request-Method": method}
    headers["Access-Control-Request-Headers"] = "authorization"
    answer = await shop.ask("/api/products/1", method="OPTIONS", headers=headers)
    assert answer.status == 200


@pytest.mark.parametrize("asked", ["x-user-id", "cookie", "if-match, x-forwarded-for"])
async def test_preflight_of_a_header_that_the_gateway_drops_is_refused(
    shop: Gateway, asked: str
) -> None:
    headers = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": asked,
    }
    answer = await shop.ask("/api/products/1", method="OPTIONS", headers=headers)
    assert answer.status == 400
    answer.problem()


async def test_storefront_may_read_response_headers(shop: Gateway, upstream: FakeUpstream) -> None:
    told = {
        "ETag": '"7"',
        "Link": '</api/products?page=2>; rel="next"',
        "Location": "/api/products/7",
        "Idempotent-Replayed": "true",
        "Retry-After": "3",
        "Accept-Encoding": "identity",
        "WWW-Authenticate": "Bearer",
        "Allow": "GET, HEAD",
    }
    pairs = [(name.encode(), value.encode()) for name, value in told.items()]
    upstream.script = answering(headers=pairs)
    answer = await shop.ask("/api/products/7", headers={"Origin": SHOP})
    exposed = str(answer.header("access-control-expose-headers")).lower().split(", ")
    for name, value in told.items():
        assert answer.header(name) == value
        assert name.lower() in exposed
    own = {"ratelimit", "ratelimit-policy", "x-trace-id", "x-request-id"}
    assert own <= {name for name, _ in answer.headers} & set(exposed)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://shop.example.evil", "http://shop.example", "null"]
)
async def test_preflight_of_an_unknown_origin_is_refused(shop: Gateway, origin: str) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = await shop.ask("/api/orders", method="OPTIONS", headers=headers)
    assert answer.status == 400
    answer.problem()
    assert answer.header("access-control-allow-origin") is None
    answer = await shop.ask("/api/products", headers={"Origin": origin})
    assert answer.header("access-control-allow-origin") is None


async def test_storefront_can_read_error_responses(shop: Gateway) -> None:
    headers = {"Origin": SHOP}
    answers = [await shop.ask("/api/orders/me", headers=headers) for _ in range(6)]
    answers.append(await shop.ask("/api/nothing", headers=headers))
    assert [answer.status for answer in answers] == [401] * 5 + [429, 404]
    for answer in answers:
        answer.problem()
        assert answer.header("access-control-allow-origin") == SHOP
        exposed = str(answer.header("access-control-expose-headers"))
        assert "Retry-After" in exposed
        assert "RateLimit" in exposed
        assert "Origin" in str(answer.header("vary"))


async def test_without_the_setting_there_is_no_cors(gateway: Gateway) -> None:
    answer = await gateway.ask("/api/products", headers={"Origin": SHOP})
    assert answer.header("access-control-allow-origin") is None


async def test_metrics_need_the_scrape_token(
    gateway: Gateway, gateway_of: MakeGateway, provider: FakeProvider
) -> None:
    assert (await gateway.ask("/metrics", token=SCRAPE_TOKEN)).status == 200
    for token in (None, "wrong", SCRAPE_TOKEN + "x", provider.token("admin", "admin")):
        answer = await gateway.ask("/metrics", token=token)
        assert answer.status == 404
        answer.problem()
    without = gateway_of(metrics_token="")
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}):
        assert (await without.ask("/metrics", headers=headers)).status == 404


async def test_health_needs_no_token(gateway: Gateway) -> None:
    answer = await gateway.ask("/health")
    assert (answer.status, json.loads(answer.body)) == (
        200,
        {"status": "UP", "service": "api-gateway", "auth_enabled": True},
    )


async def test_labels_come_from_closed_sets(gateway: Gateway) -> None:
    before = await gateway.ask("/metrics", token=SCRAPE_TOKEN)
    for n in range(50):
        await gateway.ask(f"/api/products/{n}?q={n}")
        await gateway.ask(f"/unknown/{n}", method=f"M{n}" if n % 2 else "GET")
        await gateway.ask(f"/api/unknown{n}/x")
    after = await gateway.ask("/metrics", token=SCRAPE_TOKEN)
    assert after.body.count(b"\n") - before.body.count(b"\n") < 100
    assert b"/api/products/{product_id}" in after.body
    assert b"unknown/" not in after.body


async def test_start_page_links_to_documentation_state_and_configured_tools(
    gateway_of: MakeGateway, upstream: FakeUpstream
) -> None:
    gateway = gateway_of(mailbox_url="http://localhost:8025/?a=1&b=<2>")
    answer = await gateway.ask("/")
    assert answer.status == 200
    assert answer.header("content-type") == "text/html; charset=utf-8"
    page = answer.body.decode()
    links = re.findall(r'href="([^"]*)"', page)
    assert links == [
        "data:,",
        "docs",
        "api/products",
        "health/ready",
        "http://localhost:8025/?a=1&amp;b=&lt;2&gt;",
    ]
    for path in links[1:4]:
        assert (await gateway.ask(f"/{path}")).status == 200
    head = await gateway.ask("/", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert (await gateway.ask("/", method="POST", body=b"")).status == 405


async def test_start_page_is_allowed_only_its_own_style(gateway: Gateway) -> None:
    answer = await gateway.ask("/")
    style = re.search(r"<style>(.*?)</style>", answer.body.decode(), re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = str(answer.header("content-security-policy"))
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "<script" not in answer.body.decode()


async def test_start_page_counts_against_the_rate_limit(gateway_of: MakeGateway) -> None:
    gateway = gateway_of(rate_limit_default="2/hour")
    assert [(await gateway.ask("/")).status for _ in range(3)] == [200, 200, 429]
