"""The schedule of faults is deterministic and complete."""

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


def test_same_seed_gives_same_plan() -> None:
    assert draw(7, 60, WHOLE) == draw(7, 60, WHOLE)
    assert draw(7, 60, WHOLE) != draw(8, 60, WHOLE)


def test_some_seeds_cover_every_fault_part_and_failpoint() -> None:
    planned = [each for seed in range(60) for each in draw(seed, 60, WHOLE)]
    assert {each.fault for each in planned} == set(Fault)
    assert {each.part for each in planned if each.fault is Fault.KILL} == set(WHOLE.killed)
    reached = {(each.part, each.detail) for each in planned if each.fault is Fault.FAILPOINT}
    assert reached == {(part, place) for part, places in PLACES.items() for place in places}
    assert {each.detail for each in planned if each.fault is Fault.MAIL} == set(MAIL_FAULTS)


@pytest.mark.parametrize("seed", range(10))
def test_faults_of_one_part_do_not_overlap_and_end_before_load(seed: int) -> None:
    plan = draw(seed, 60, WHOLE)
    assert plan
    for part in {each.part for each in plan}:
        mine = [each for each in plan if each.part == part]
        assert all(first.at + first.seconds < second.at for first, second in pairwise(mine))
    assert all(each.at + each.seconds <= 58 for each in plan)


def test_plan_contains_only_requested_and_supported_faults() -> None:
    requested = draw(7, 60, WHOLE, [Fault.KILL, Fault.SLOW])
    assert {each.fault for each in requested} == {Fault.KILL, Fault.SLOW}
    bare = Surface(killed=["kafka"], paused=[], linked=(), places=False, mail=False)
    assert {each.fault for each in draw(7, 60, bare)} <= {Fault.KILL, Fault.REPEAT, Fault.POISON}


def test_every_failpoint_of_plan_exists_in_service() -> None:
    chassis = "".join(path.read_text() for path in (ROOT / "libs/chassis/chassis").rglob("*.py"))
    for service, places in PLACES.items():
        own = "".join(path.read_text() for path in (ROOT / service / "app").rglob("*.py"))
        for place in places:
            assert f'reach("{place}")' in chassis + own, f"{service}: {place}"


def test_every_mail_fault_of_plan_is_accepted_by_mailbox() -> None:
    for preset, changes in MAIL_FAULTS.items():
        MailboxFault.model_validate({"preset": preset, **changes})
