"""The same seed breaks the same things at the same time, and no part twice at a time."""

from itertools import pairwise

import pytest

from fleet.emulators.mailbox.faults import Fault as MailboxFault
from tests.fleet_under_test import ROOT, SERVICES
from tests.judge.plan import MAIL_FAULTS, PLACES, Fault, Surface, draw

WHOLE = Surface(
    killed=[*SERVICES, "postgres"],
    paused=[*SERVICES, "kafka"],
    linked=["postgres"],
    places=True,
    mail=True,
)


def test_a_seed_gives_the_same_plan_again_and_another_seed_another() -> None:
    assert draw(7, 60, WHOLE) == draw(7, 60, WHOLE)
    assert draw(7, 60, WHOLE) != draw(8, 60, WHOLE)


def test_over_some_seeds_every_fault_befalls_every_part_and_every_place_is_reached() -> None:
    planned = [each for seed in range(60) for each in draw(seed, 60, WHOLE)]
    assert {each.fault for each in planned} == set(Fault)
    assert {each.part for each in planned if each.fault is Fault.KILL} == set(WHOLE.killed)
    reached = {(each.part, each.detail) for each in planned if each.fault is Fault.FAILPOINT}
    assert reached == {(part, place) for part, places in PLACES.items() for place in places}
    assert {each.detail for each in planned if each.fault is Fault.MAIL} == set(MAIL_FAULTS)


@pytest.mark.parametrize("seed", range(10))
def test_no_part_has_two_faults_at_a_time_and_all_are_over_before_the_load(seed: int) -> None:
    plan = draw(seed, 60, WHOLE)
    assert plan
    for part in {each.part for each in plan}:
        mine = [each for each in plan if each.part == part]
        assert all(first.at + first.seconds < second.at for first, second in pairwise(mine))
    assert all(each.at + each.seconds <= 58 for each in plan)


def test_only_the_faults_that_were_asked_for_and_that_the_fleet_allows() -> None:
    asked = draw(7, 60, WHOLE, [Fault.KILL, Fault.SLOW])
    assert {each.fault for each in asked} == {Fault.KILL, Fault.SLOW}
    bare = Surface(killed=["kafka"], paused=[], linked=(), places=False, mail=False)
    assert {each.fault for each in draw(7, 60, bare)} <= {Fault.KILL, Fault.REPEAT, Fault.POISON}


def test_every_place_of_the_plan_is_in_the_code_of_its_service() -> None:
    chassis = "".join(path.read_text() for path in (ROOT / "libs/chassis/chassis").rglob("*.py"))
    for service, places in PLACES.items():
        own = "".join(path.read_text() for path in (ROOT / service / "app").rglob("*.py"))
        for place in places:
            assert f'reach("{place}")' in chassis + own, f"{service}: {place}"


def test_every_mail_fault_of_the_plan_is_one_that_the_mailbox_accepts() -> None:
    for preset, changes in MAIL_FAULTS.items():
        MailboxFault.model_validate({"preset": preset, **changes})
