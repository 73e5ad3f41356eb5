"""`python -m tests.judge`: one or more runs. Exit code 1 if any check failed."""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fleet.errors import FleetError
from tests.judge.history import History, Kind, Outcome
from tests.judge.nemesis import Nemesis
from tests.judge.plan import Fault
from tests.judge.report import summary, write_reports
from tests.judge.run import Options, run
from tests.judge.target import EmbeddedFleet, Target


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute the requested runs. Return 0 if all checks of all runs passed."""
    options = _parser().parse_args(arguments)
    seeds = options.seed or [random.SystemRandom().randrange(1_000_000)]
    try:
        passed = [asyncio.run(_run_one(options, seed)) for seed in seeds]
    except FleetError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0 if all(passed) else 1


async def _run_one(arguments: argparse.Namespace, seed: int) -> bool:
    options = Options(seed, arguments.duration, arguments.clients, arguments.faults)
    folder = arguments.reports / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    history = folder / "history.jsonl"
    history.unlink(missing_ok=True)
    target = _target(arguments, seed)
    print(f"Run with seed {seed}: {options.duration:.0f} s, {options.clients} customers.")
    try:
        await target.up()
        result = await run(target, options, _Ticker(options.duration), history)
        write_reports(result, folder, arguments)
        if not result.passed:
            target.keep_logs(folder)
    finally:
        await target.remove()
    print(summary(result))
    print(f"Report: {folder / 'report.html'}")
    if not result.passed:
        print(f"Repeat with: make judge SEED={seed} DURATION={options.duration:.0f}")
    return result.passed


def _target(arguments: argparse.Namespace, seed: int) -> Target:
    if arguments.target == "compose":
        from tests.judge.compose_target import ComposeFleet

        return ComposeFleet(seed, arguments.replicas)
    return EmbeddedFleet(seed, arguments.replicas)


class _Ticker:
    """Print progress: one updated line on a terminal, elsewhere a line every ten seconds."""

    def __init__(self, duration: float) -> None:
        self._duration = duration
        self._terminal = sys.stdout.isatty()
        self._next = 0.0

    def __call__(self, now: float, history: History, nemesis: Nemesis) -> None:
        if not self._terminal and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 10.0
        placed = history.by_kind(Kind.PLACE)
        counts = {each: sum(a.outcome is each for a in placed) for each in Outcome}
        broken = [str(done.planned) for done in nemesis.done if not done.ended]
        line = (
            f"{now:5.0f} of {self._duration:.0f} s  {counts[Outcome.OK]} orders,"
            f" {counts[Outcome.REFUSED]} refused, {counts[Outcome.UNKNOWN]} unknown,"
            f" {len(nemesis.done)} faults  {'; '.join(broken)}"
        )
        if self._terminal:
            print(f"\r\033[K{line[:150]}", end="", flush=True)
        else:
            print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="judge",
        description="Place orders while injecting faults, then check the state of the fleet.",
    )
    parser.add_argument("--seed", type=_seeds, help="seed to repeat: 7, or 1-20 for several runs")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of load (60)")
    parser.add_argument("--clients", type=int, default=12, help="concurrent customers (12)")
    parser.add_argument(
        "--faults",
        type=_faults,
        default=tuple(Fault),
        help=f"comma-separated fault types ({', '.join(Fault)}; all)",
    )
    parser.add_argument(
        "--replicas", type=int, choices=(1, 2), default=1, help="replicas of each service"
    )
    parser.add_argument(
        "--target", choices=("embedded", "compose"), default="embedded", help="fleet to test"
    )
    parser.add_argument(
        "--reports", type=Path, default=Path("reports/judge"), help="folder of the reports"
    )
    return parser


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _faults(text: str) -> tuple[Fault, ...]:
    return tuple(Fault(name.strip()) for name in text.split(",") if name.strip())


if __name__ == "__main__":
    raise SystemExit(main())
