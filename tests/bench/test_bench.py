"""Calculations and reports of the benchmarks."""

import json
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.figure import BARE_COST, GOALS, ORDER_COST, Figure, Goal, Measured, Series
from benchmarks.tools import Answer, load_of
from fleet.errors import FleetError
from tests.judge.checks import CheckResult


def answer(took: float, *, began: float = 0.0, status: int = 200) -> Answer:
    return Answer(status, began, took, b"", "")


def test_goal_is_met_at_bound_and_missed_beyond() -> None:
    assert Goal(5).met(5.0)
    assert not Goal(5).met(5.1)
    assert Goal(0.8, at_least=True).met(0.8)
    assert not Goal(0.8, at_least=True).met(0.79)


def test_figure_between_goal_and_acceptable_bound_is_not_missed() -> None:
    goal = Goal(65, acceptable=75)
    assert (goal.met(65), goal.missed(65)) == (True, False)
    assert (goal.met(70), goal.missed(70)) == (False, False)
    assert (goal.met(76), goal.missed(76)) == (False, True)
    assert str(goal) == "≤ 65 (acceptable 75)"


def test_order_ratio_needs_both_figures_of_the_same_run() -> None:
    order = Figure("orders", ORDER_COST, 9.0, "ms")
    alone = Measured.of([order])
    alone.add_order_ratio()
    assert alone.figures == [order]
    both = Measured.of([order, Figure("forwarding", BARE_COST, 150.0, "µs")])
    both.add_order_ratio()
    ratio = both.figures[-1]
    assert (ratio.value, ratio.unit) == (60.0, "x")
    assert ratio.goal == Goal(65, acceptable=75)


def test_figure_finds_goal_by_name() -> None:
    key = "forwarding: p99 added by the gateway"
    scenario, name = key.split(": ")
    assert Figure(scenario, name, 4.0, "ms").met
    assert not Figure(scenario, name, 6.0, "ms").met
    assert Figure("reads", "something else", 1e9, "ms").met
    assert key in GOALS


def test_rate_and_latencies_include_all_responses() -> None:
    load = load_of([answer(0.01 * n, began=0.1 * n) for n in range(1, 101)])
    assert load.count == 100
    assert load.rate == pytest.approx(100 / (10.0 + 1.0 - 0.1))
    assert (load.p50, load.p95, load.p99) == pytest.approx((510.0, 960.0, 1000.0))


@pytest.mark.parametrize("answers", [[], [answer(0.1), answer(0.1, status=503)]])
def test_load_with_error_or_without_response_fails(answers: list[Answer]) -> None:
    with pytest.raises(FleetError, match="were not 200"):
        load_of(answers)


def test_report_shows_missed_goals_and_violations_and_is_stored(tmp_path: Path) -> None:
    measured = Measured.of(
        [
            Figure("forwarding", "p99 added by the gateway", 6.0, "ms"),
            Figure("orders", "of <none>", 12.0, "/s"),
        ],
        [Series("a curve", "ms", {"one": [(0.0, 1.0), (1.0, 2.0)]})],
        ["a note"],
    )
    verdicts = [CheckResult("no product oversold", 3, ["p: 4 sold of 3"])]
    page = report.write(measured, verdicts, {}, "2026-01-01_000000", tmp_path).read_text()
    assert "0 of 1 goals met" in page
    assert "The state is wrong" in page
    assert "of &lt;none&gt;" in page
    before = report.newest(tmp_path)
    assert before["orders: of <none>"] == 12.0
    assert "12.0 (+0 %)" in report.terminal(measured, before)
    stored = json.loads((tmp_path / "2026-01-01_000000.json").read_text())
    assert stored["checks"][0]["violations"] == ["p: 4 sold of 3"]


def test_first_run_has_no_comparison(tmp_path: Path) -> None:
    assert report.newest(tmp_path / "never") == {}
