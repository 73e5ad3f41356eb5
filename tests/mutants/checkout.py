"""A copy of this checkout to which mutants are applied, and its test runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.mutants.mutant import Edit

ROOT = Path(__file__).parent.parent.parent
LIMIT = 90  # seconds for one test, because a defect may hang
HARD_LIMIT = 300  # seconds for one run of pytest
# Errors that do not count as caught: they mean that the mutant does not run.
_BROKEN = ("SyntaxError", "ImportError", "ModuleNotFoundError", "NameError", "AttributeError")


class BrokenRun(Exception):
    """The tests did not run properly, so the mutant has no result."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a test run: number of passed tests, and the first failure with its reason."""

    passed: int
    failed: str | None = None
    reason: str = ""


class Checkout:
    """The files of the working tree, with the environments of the original.

    The copy's code is first on PYTHONPATH, before the libraries installed from the original;
    `prove` checks that. No byte code is written, because Python does not detect two edits of the
    same length within a second.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "PYTHONPATH": f"{folder / 'libs/chassis'}:{folder / 'local'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PROMISE_SECONDS": "3",
        }
        for name in _files():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
        for venv in (ROOT / ".venv", *ROOT.glob("*/venv"), *ROOT.glob("libs/*/venv")):
            (folder / venv.relative_to(ROOT)).symlink_to(venv)

    @contextmanager
    def changed(self, edits: Iterable[Edit]) -> Iterator[None]:
        """Apply edits; afterwards restore the files."""
        before: dict[Path, str] = {}
        try:
            for edit in edits:
                path = self.folder / edit.file
                source = path.read_text(encoding="utf-8")
                before.setdefault(path, source)
                path.write_text(edit.applied(source), encoding="utf-8")
            self._lint(before)
            yield
        finally:
            for path, source in before.items():
                path.write_text(source, encoding="utf-8")

    def _lint(self, paths: Iterable[Path]) -> None:
        """Check that the mutant has no syntax errors and no undefined names."""
        ruff = [str(ROOT / ".venv/bin/ruff"), "check", "--quiet", "--isolated", "--select", "F821"]
        done = subprocess.run(
            [*ruff, *map(str, paths)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise BrokenRun(f"The mutant is not valid code.\n{done.stdout}")

    def prove(self, suite: str) -> None:
        """Raise unless this suite's tests import the copy's code."""
        packages = ["chassis", "fleet"] + ([] if suite.startswith("libs/") else ["app"])
        program = (
            f"import {', '.join(packages)}\nfor p in ({', '.join(packages)}):print(p.__path__[0])"
        )
        found = self._run(suite, "-c", program)
        for line in found.stdout.splitlines():
            if not Path(line).resolve().is_relative_to(self.folder.resolve()):
                raise BrokenRun(f"{suite} would run {line}, which is not the copy's.")
        if len(found.stdout.splitlines()) != len(packages):
            raise BrokenRun(f"{suite} does not find its packages.\n{found.stderr}")

    def test(self, suite: str, *ids: str, fail_fast: bool = True) -> Verdict:
        """Run tests of one suite.

        Raises:
            BrokenRun: no test ran, or one failed with an error instead of an assertion.
        """
        report = self.folder / "report.xml"
        report.unlink(missing_ok=True)
        options = ["-q", "-p", "no:cacheprovider", f"--timeout={LIMIT}", f"--junitxml={report}"]
        done = self._run(suite, "-m", "pytest", *options, *(["-x"] if fail_fast else []), *ids)
        if not report.exists():
            raise BrokenRun(f"pytest has no report.\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314  pytest's own
        if done.returncode not in (0, 1) or not cases:
            raise BrokenRun(f"pytest ended with {done.returncode}.\n{done.stdout[-3000:]}")
        return _verdict(cases, done.stdout)

    def _run(self, suite: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        folder = self.folder / suite
        command = [str(folder / "venv/bin/python"), *arguments]
        with subprocess.Popen(
            command,
            cwd=folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=HARD_LIMIT)
            except BaseException as error:
                os.killpg(process.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    raise BrokenRun(f"no end after {HARD_LIMIT} s: {' '.join(command)}") from None
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextmanager
def a_checkout() -> Iterator[Checkout]:
    """A temporary copy of the checkout."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        yield Checkout(Path(folder))


def _files() -> list[str]:
    """Return the files that are tracked or not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def _verdict(cases: list[ElementTree.Element], output: str) -> Verdict:
    passed = sum(not len(case.findall("failure")) + len(case.findall("error")) for case in cases)
    for case in cases:
        failure = case.find("failure")
        if failure is not None:
            reason = failure.get("message", "").strip().splitlines() or [""]
            if reason[0].startswith(_BROKEN):
                raise BrokenRun(f"{case.get('name')} failed by {reason[0]}.\n{output[-3000:]}")
            return Verdict(passed, case.get("name"), reason[0])
    if any(case.find("error") is not None for case in cases):
        raise BrokenRun(f"An error outside of a test.\n{output[-3000:]}")
    return Verdict(passed)
