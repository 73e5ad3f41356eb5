from tests.fakes import FakeProvider, FakeUpstream
from tests.gateways import Gateway


async def test_a_request_reaches_its_upstream_and_the_answer_comes_back(
    gateway: Gateway, upstream: FakeUpstream, provider: FakeProvider
) -> None:
    answer = await gateway.ask("/api/products?page=1", token=provider.token())
    assert (answer.status, answer.body) == (200, b"{}")
    assert [seen.target for seen in upstream.requests] == [b"/api/products?page=1"]


async def test_metric(gateway: Gateway) -> None:
    assert await gateway.metric("upstream_calls_in_hand") == 0
