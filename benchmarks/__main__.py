"""Measure the platform's performance, and check its state afterwards.

    make bench                          all parts except the soak; about 6 minutes
    make bench ONLY="orders mails"      only these parts
    make bench SECONDS=2                shorter rounds: faster but less precise
    make bench ONLY=soak SOAK=10        memory during ten minutes of mixed traffic
    make bench ONLY=orders PROFILE="api-gateway order-service"
                                        flame graphs of these services while orders are placed

The fleet runs on embedded servers with the default settings: tokens, limits, metrics, one trace in
twenty sampled. The report compares the figures with the previous run in reports/bench. The exit
code is 1 if the state is wrong afterwards and 2 if a goal is missed.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from benchmarks import profiles, report
from benchmarks.figure import Measured
from benchmarks.fleet_under_load import FleetUnderLoad
from benchmarks.scenarios import forwarding, growth, orders, processes, reads
from benchmarks.tools import require_tools
from fleet.errors import FleetError
from fleet.terminal import complain, paint, say
from tests.fleet_under_test import ROOT
from tests.judge.checks import CheckResult

PARTS = ("forwarding", "start", "memory", "reads", "orders", "mails", "mixed", "growth", "soak")
WRONG, MISSED = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    try:
        require_tools()
        measured, verdicts = _Run(options).all()
    except FleetError as error:
        complain(str(error))
        return WRONG
    except KeyboardInterrupt:
        complain("Stopped; no report was written.")
        return 130
    before = report.newest(options.report)
    name = f"{datetime.now():%Y-%m-%d_%H%M%S}"  # noqa: DTZ005 - local time for the reader
    page = report.write(measured, verdicts, before, name, options.report)
    say()
    say(report.terminal(measured, before))
    for note in measured.notes:
        say(f"  {note}")
    return _conclude(measured, verdicts, page)


def _conclude(measured: Measured, verdicts: Sequence[CheckResult], page: Path) -> int:
    wrong = [verdict for verdict in verdicts if not verdict.passed]
    for verdict in wrong:
        say(paint(f"WRONG  {verdict.name}: {list(verdict.violations)[:3]}", "red"))
    if verdicts and not wrong:
        looked = sum(verdict.looked_at for verdict in verdicts)
        say(paint(f"The state is correct: {len(verdicts)} checks of {looked:,} items.", "green"))
    missed = [each.key for each in measured.figures if each.missed]
    say(f"Goals missed: {'; '.join(missed)}." if missed else "No goal was missed.")
    say(f"Report: {page}")
    if wrong:
        return WRONG
    return MISSED if missed else 0


class _Run:
    """The selected parts, one after the other, on one fleet."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._measured = Measured.of([])
        self._began = time.monotonic()

    def all(self) -> tuple[Measured, Sequence[CheckResult]]:
        seconds, wanted = self._options.seconds, self._options.only
        verdicts: Sequence[CheckResult] = []
        if "forwarding" in wanted:
            self._do("forwarding", lambda: forwarding.forwarding(seconds))
        if not set(wanted) - {"forwarding"}:
            return self._measured, verdicts
        fleet = FleetUnderLoad()
        with ExitStack() as stack:
            stack.callback(fleet.remove)
            self._do("cold start", lambda: processes.cold_start(fleet))
            fleet.seed()
            self._on(fleet)
            if self._placing:
                verdicts = self._with_orders(fleet)
            if "growth" in wanted:
                self._do("growth", lambda: growth.growth(fleet, seconds, self._say))
        self._measured.add_order_ratio()
        return self._measured, verdicts

    @property
    def _placing(self) -> bool:
        return bool({"orders", "mails", "mixed", "soak"} & set(self._options.only))

    def _on(self, fleet: FleetUnderLoad) -> None:
        seconds, wanted = self._options.seconds, self._options.only
        if "start" in wanted or "memory" in wanted:
            self._do("warm start", lambda: processes.warm_start(fleet))
        if "memory" in wanted:
            self._do("idling", lambda: processes.idling(fleet))
        if "reads" in wanted:
            self._do("reads", lambda: reads.browsing(fleet, seconds))
            self._do("added latency", lambda: reads.added_latency(fleet, seconds))

    def _with_orders(self, fleet: FleetUnderLoad) -> Sequence[CheckResult]:
        seconds, wanted = self._options.seconds, self._options.only
        placed = orders.Orders.of(fleet)
        self._do("warming up", lambda: orders.warm_up(placed))
        with ExitStack() as profiling:
            if self._options.profile:
                folder = self._options.report / "profiles"
                profiling.enter_context(profiles.recorded(fleet, self._options.profile, folder))
            if "orders" in wanted:
                self._do("orders", lambda: orders.placing(placed, seconds))
        if "mails" in wanted:
            self._do("mails", lambda: orders.mails(placed, max(5.0, seconds)))
        if "mixed" in wanted:
            self._do("mixed", lambda: reads.mixed(placed, max(10.0, seconds)))
        if "soak" in wanted:
            self._do("soak", lambda: processes.soak(placed, self._options.soak, self._say))
        if "memory" in wanted:
            self._do("memory after load", lambda: processes.memory_after_load(fleet))
        self._say("checking the state")
        return placed.judge()

    def _do(self, name: str, part: Callable[[], Measured]) -> None:
        self._say(name)
        self._measured.add(part())

    def _say(self, what: str) -> None:
        say(f"{time.monotonic() - self._began:6.0f} s  {what} ...")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("benchmarks", description=__doc__, formatter_class=form)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS[:-1], metavar="PART",
                        help=f"parts to run: {', '.join(PARTS)}")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each round")
    parser.add_argument("--soak", type=float, default=10.0, help="length of the soak in minutes")
    parser.add_argument("--profile", nargs="*", default=[], metavar="SERVICE",
                        help="services to profile while orders are placed")  # fmt: skip
    parser.add_argument("--report", type=Path, default=ROOT / "reports" / "bench")
    options = parser.parse_args(arguments)
    if options.seconds < 1 or options.soak < 1:
        parser.error("a round takes at least 1 s and a soak at least 1 minute")
    return options


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
