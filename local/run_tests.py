"""Run all test suites, each with the interpreter of its own environment.

Two suites run at a time, because many tests wait (for a consumer group, for the end of an outage).
The suites of the whole fleet are the longest and start first. Tests with the marker ``timing``
compare CPU time with a bound; they run last, one suite at a time. `make check` runs the tests of
the structure. Each suite prints its slowest tests.

.venv/bin/python local/run_tests.py                 everything
.venv/bin/python local/run_tests.py order-service   only that suite
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bootstrap import CHASSIS, service_folders
from installer import ROOT, TOOLS

STRUCTURE = ("tests/conformance/test_structure.py", "tests/conformance/test_alike.py")

_SUMMARY = re.compile(r"\d+ (?:passed|failed|error|skipped).* in [\d.]+s")
_NOT_PASSED = re.compile(r"(?:FAILED|ERROR) \S+::.*")


@dataclass(frozen=True)
class Suite:
    """The tests of one folder, selected by pytest arguments."""

    name: str
    folder: Path
    python: Path
    chosen: tuple[str, ...] = ("tests",)
    timing: bool = False


@dataclass(frozen=True)
class Result:
    """The result of a suite: pytest's summary line or the reason without one, and failed tests."""

    suite: Suite
    passed: bool
    summary: str
    seconds: float
    failures: tuple[str, ...] = ()


def suites() -> list[Suite]:
    """Return the suites of libraries, services and the whole fleet."""
    own = [CHASSIS, *service_folders()]
    found = [Suite("local", ROOT / "local", TOOLS / "bin" / "python")]
    for folder in own:
        python = folder / "venv" / "bin" / "python"
        if '"timing:' not in (folder / "pyproject.toml").read_text("utf-8"):
            found.append(Suite(folder.name, folder, python))
            continue
        found.append(Suite(folder.name, folder, python, ("tests", "-m", "not timing")))
        found.append(Suite(folder.name, folder, python, ("tests", "-m", "timing"), timing=True))
    if (ROOT / "tests").is_dir():
        python = TOOLS / "bin" / "python"
        restarts = "tests/e2e/test_rolling_restart.py"  # starts its own fleet with replicas
        judging = ("tests/judge", "tests/mutants", restarts)
        rest = ("tests", *(f"--ignore={path}" for path in (*judging, *STRUCTURE)))
        found += [Suite("tests", ROOT, python, rest), Suite("judge", ROOT, python, judging)]
    return found


def run(suite: Suite) -> Result:
    """Run one suite and print its output. A suite without tests fails."""
    began, summary, failures = time.monotonic(), "", []
    if not (suite.folder / "tests").is_dir():
        return Result(suite, False, "has no tests", 0.0)
    color = "--color=yes" if sys.stdout.isatty() else "--color=no"  # pytest sees a pipe
    slowest = "--durations=12", "--durations-min=3"
    command = [str(suite.python), "-m", "pytest", "-q", color, *slowest, *suite.chosen]
    with subprocess.Popen(command, cwd=suite.folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101
        for line in process.stdout:
            print(f"{suite.name:<20} | {line.rstrip()}", flush=True)
            plain = re.sub(r"\033\[[\d;]*m", "", line)
            if match := _SUMMARY.search(plain):
                summary = match.group(0)
            if match := _NOT_PASSED.match(plain):
                failures.append(match.group(0).rstrip())
    summary = summary or f"exit code {process.returncode}"
    took = time.monotonic() - began
    return Result(suite, process.returncode == 0, summary, took, tuple(failures))


def run_all(chosen: list[Suite]) -> list[Result]:
    """Run two suites at a time, those of the whole fleet first; then the timing tests alone."""
    together = [suite for suite in chosen if not suite.timing]
    together.sort(key=lambda suite: suite.folder != ROOT)
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(run, together))
    return results + [run(suite) for suite in chosen if suite.timing]


def main(names: list[str]) -> int:
    """Run the named suites or all, and print a table. Return 1 if any fails."""
    known = suites()
    unknown = set(names) - {suite.name for suite in known}
    if unknown:
        print(f"No such suite: {', '.join(unknown)}. Known: {', '.join(s.name for s in known)}.")
        return 1
    began = time.monotonic()
    results = run_all([suite for suite in known if not names or suite.name in names])
    print()
    for result in results:
        for failure in result.failures:
            print(f"  {result.suite.name} | {failure[:300]}")
    for result in results:
        state = "ok    " if result.passed else "FAILED"
        print(f"  {state}  {result.suite.name:<22} {result.seconds:6.1f} s  {result.summary}")
    passed = all(result.passed for result in results)
    print(f"  {'all ok' if passed else 'FAILED'}{'':<26}{time.monotonic() - began:6.1f} s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
