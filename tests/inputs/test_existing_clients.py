"""Clients of the platform's first version get the answers that they check."""

from dataclasses import replace

import pytest

from tests.fleet_under_test import GATEWAY, Shop
from tests.inputs.existing_clients import CASES
from tests.inputs.steps import Case, Request


@pytest.mark.parametrize("through", ["its own port", "the gateway"])
@pytest.mark.parametrize(
    ("service", "case"),
    [
        pytest.param(service, case, id=f"{service}: {case.id}")
        for service, cases in CASES.items()
        for case in cases
    ],
)
async def test_existing_client_gets_the_answer_it_checks(
    shop: Shop, service: str, case: Case, through: str
) -> None:
    at, user = (GATEWAY, "admin") if through == "the gateway" else (service, "")
    steps = [
        replace(step, at=at, user=user)
        if isinstance(step, Request) and step.at == GATEWAY
        else step
        for step in case.steps
    ]
    await replace(case, steps=steps).run(shop)


@pytest.mark.parametrize("service", [*CASES, GATEWAY])
async def test_existing_client_gets_health(shop: Shop, service: str) -> None:
    health = await shop.http.get(f"{shop.fleet.url(service)}/health")
    assert health.status_code == 200
    assert health.json().items() >= {"status": "UP", "service": service}.items()
