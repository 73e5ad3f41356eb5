"""Every reported input gets the right answer from the whole fleet."""

from collections.abc import Iterator

import pytest

from tests.fleet_under_test import Fleet, Shop
from tests.inputs.steps import Case
from tests.inputs.table import ROWS


@pytest.fixture
def working_mail_server(fleet: Fleet, case: Case) -> Iterator[None]:
    """End the faults that a case has left at the mailbox."""
    yield
    if case.local:
        fleet.mailbox.set_faults()


@pytest.mark.usefixtures("working_mail_server")
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.id, marks=[pytest.mark.local] * case.local) for case in ROWS],
)
async def test_reported_input(shop: Shop, case: Case) -> None:
    await case.run(shop)


def test_ids_of_reported_inputs_are_unique() -> None:
    ids = [case.id for case in ROWS]
    assert len(ids) == len(set(ids))
