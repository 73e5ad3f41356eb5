"""First steps of a new user: follow a request, restart a service, log in, try the examples."""

import re
import uuid
from collections.abc import Iterator, Mapping

import pytest

from fleet.processes.ports import free_port
from tests.fleet_under_test import GATEWAY, Fleet, Shop, new_email

pytestmark = pytest.mark.local

PROXIED = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def admin(fleet: Fleet) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {fleet.identity.token('admin')}"}


@pytest.fixture
def behind_proxy(fleet: Fleet) -> Iterator[None]:
    """Name a proxy that does not exist; restore order-service, which a test starts behind it."""
    proxy = f"http://127.0.0.1:{free_port()}"
    with fleet.settings({**dict.fromkeys(PROXIED, proxy), "no_proxy": "", "NO_PROXY": ""}):
        yield
    fleet("restart", "order-service")


async def test_trace_and_log_lines_are_available_after_request(fleet: Fleet, shop: Shop) -> None:
    answer = await shop.http.get(fleet.url(GATEWAY) + "/api/orders", headers=admin(fleet))
    assert answer.status_code == 200
    trace_id = answer.headers["x-trace-id"]
    shown = await fleet.run("traces", trace_id)
    assert GATEWAY in shown
    assert "order-service" in shown
    lines = (await fleet.run("logs", "--trace", trace_id)).splitlines()
    assert {line.split()[0] for line in lines} == {GATEWAY, "order-service"}


async def test_restarted_service_is_reachable_through_gateway_at_once(
    fleet: Fleet, shop: Shop
) -> None:
    url = fleet.url(GATEWAY) + "/api/orders"
    try:
        await fleet.run("kill", "order-service")
        for _ in range(10):  # more than the failures that open the circuit
            refused = await shop.http.get(url, headers=admin(fleet))
            assert refused.status_code == 503
    finally:
        await fleet.run("restart", "order-service")
    assert (await shop.http.get(url, headers=admin(fleet))).status_code == 200


async def test_start_page_links_to_the_tools_of_the_fleet(fleet: Fleet, shop: Shop) -> None:
    page = await shop.http.get(fleet.url(GATEWAY) + "/")
    assert page.status_code == 200
    links = re.findall(r'<a href="([^"]+)"', page.text)
    assert fleet.mailbox.url in links
    for link in links:
        url = link if link.startswith("http") else f"{fleet.url(GATEWAY)}/{link}"
        assert (await shop.http.get(url)).status_code == 200, url


async def test_order_service_port_requires_token_with_auth_required(
    fleet: Fleet, shop: Shop
) -> None:
    assert (await shop.http.get(shop.orders)).status_code == 200
    try:
        with fleet.settings({"AUTH_REQUIRED": "true"}):
            await fleet.run("restart", "order-service")
        assert (await shop.http.get(shop.orders)).status_code == 401
        assert (await shop.http.get(shop.orders, headers=admin(fleet))).status_code == 200
    finally:
        await fleet.run("restart", "order-service")


@pytest.mark.usefixtures("behind_proxy")
async def test_commands_and_services_use_no_proxy_for_local_addresses(
    fleet: Fleet, shop: Shop
) -> None:
    await fleet.run("seed")
    assert re.fullmatch(r"[\w.-]+\n", await fleet.run("token", "alice"))
    await fleet.run("doctor", "-u", "alice")
    await fleet.run("restart", "order-service")
    product = (await shop.catalogue())[0]
    item = {
        "product_id": product["id"],
        "product_name": product["name"],
        "quantity": 1,
        "unit_price": product["price"],
    }
    order = {"customer_name": "Alice", "customer_email": new_email("proxy"), "items": [item]}
    placed = await shop.http.post(shop.orders, json=order)
    assert placed.status_code == 201, placed.text


async def test_examples_of_order_and_stock_operations_work_on_a_seeded_fleet(
    fleet: Fleet, shop: Shop
) -> None:
    """`Try it out` in /docs sends each example of the document unchanged."""
    await fleet.run("seed")
    gateway = fleet.url(GATEWAY)
    document = (await shop.http.get(f"{gateway}/openapi.json")).json()
    schemas = document["components"]["schemas"]
    example = schemas["OrderIn"]["example"]
    product = example["items"][0]["product_id"]  # earlier tests may have sold its stock
    restocked = await shop.http.patch(
        f"{gateway}/api/inventory/{product}/restock", json={"quantity": 10}, headers=admin(fleet)
    )
    assert restocked.status_code == 200, restocked.text
    placed = await shop.http.post(
        f"{gateway}/api/orders",
        json=example,
        headers={**admin(fleet), "Idempotency-Key": str(uuid.uuid4())},
    )
    assert placed.status_code == 201, placed.text
    tried = 0
    for path, item in document["paths"].items():
        if not path.startswith("/api/inventory/{product_id}") or "get" not in item:
            continue
        examples = {p["name"]: p for p in item["get"].get("parameters", [])}
        target = path
        for name in re.findall(r"\{(\w+)\}", path):
            target = target.replace(f"{{{name}}}", _example(examples[name]))
        query = {
            name: _example(parameter)
            for name, parameter in examples.items()
            if parameter["in"] == "query" and parameter.get("required")
        }
        answer = await shop.http.get(gateway + target, params=query, headers=admin(fleet))
        assert answer.status_code == 200, f"{target}: {answer.text}"
        tried += 1
    assert tried >= 2


def _example(parameter: Mapping[str, object]) -> str:
    schema = parameter["schema"]
    assert isinstance(schema, Mapping)
    if "example" in parameter:
        return str(parameter["example"])
    return str(schema["examples"][0])
