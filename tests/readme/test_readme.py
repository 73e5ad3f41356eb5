"""Every command of README.md is run as it stands there, on a fleet of its own, from top to bottom.

Only the ports differ. What cannot be run here is in NOT_RUN, with the test that holds it instead.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fleet_under_test import ROOT, Fleet
from tests.readme.commands import Block, blocks, named

OWN_PORT = "tests/e2e/test_first_steps.py::test_own_port_of_order_service_asks_for_a_token"
NOT_RUN: Mapping[str, tuple[str, str]] = {
    "curl localhost:8002/api/orders": (
        "it is shown with the setting that changes its answer",
        OWN_PORT,
    ),
    "AUTH_REQUIRED=true make up": (
        "it would start the fleet once more",
        OWN_PORT,
    ),
    "make test": (
        "it is what runs this",
        "local/tests/test_run_tests.py::test_every_suite_is_found_and_has_tests",
    ),
    "make test s=...": (
        "a part of the same",
        "local/tests/test_run_tests.py::test_suite_result_is_that_of_its_tests",
    ),
    "make check": (
        "takes minutes, and .ci/run begins with it",
        "local/tests/test_checks.py::test_check_result_distinguishes_ok_not_checked_and_failed",
    ),
    "make dev s=order-service": (
        "it would start the fleet once more",
        "local/tests/test_dev.py::test_code_change_restarts_service_and_ctrl_c_leaves_fleet_running",
    ),
    "pre-commit install": (
        "it changes the clone's hooks",
        "local/tests/test_workflows.py::test_hooks_run_existing_checks",
    ),
    "python3 -m venv venv && venv/bin/pip install -r requirements-dev.txt": (
        "make venv installs the same file, and is run",
        "tests/conformance/test_structure.py::test_every_requirement_is_pinned_and_comes_from_no_particular_place",
    ),
    "make judge": (
        "takes minutes",
        "tests/judge/test_trial.py::test_promise_61_a_minute_of_faults_leaves_everything_right",
    ),
    "make mutants": (
        "runs a suite for each of the defects",
        "tests/mutants/test_mutants.py::test_promise_62_a_mutant_fits_the_code_of_today",
    ),
    "make bench": (
        "needs wrk, and a machine to itself",
        "tests/readme/test_readme.py::test_what_make_is_asked_for_is_in_the_makefile",
    ),
    "docker compose up --build --wait": (
        "needs Docker",
        "tests/conformance/test_compose.py::test_all_that_the_platform_needs_is_there",
    ),
    "venv/bin/pytest -v": (
        "it is the suite order-service of make test",
        "local/tests/test_run_tests.py::test_every_suite_is_found_and_has_tests",
    ),
}
"""Command → why it is not run here, and the test that holds it."""

UNTIL_CTRL_C = {
    "make demo": "Running until Ctrl-C.",
    "make logs s=order-service": "request",
}
"""Command → what it prints once it has done what it is for; then Ctrl-C ends it."""

SAID = {
    "make demo": r"Order ORD-\S+: CONFIRMED.*Mail to alice@example\.com",
    "localhost:9000/api/orders": r'"status":"CONFIRMED".*"status":"CANCELLED".*"available_qty"',
    "make status": r"order-service.*POST /api/orders",
}
"""A part of a block → what must be seen when that block runs."""

PREAMBLE = """
set -euo pipefail
trap 'echo "README: failed: $BASH_COMMAND" >&2' ERR
curl() { command curl --fail-with-body --max-time 30 "$@"; }
"""
"""Run by bash before each block: stop at the first failure, an HTTP error included."""


@pytest.fixture(scope="module")
def own() -> Iterator[Fleet]:
    """A fleet's ports and folder; README.md starts it, and stops it at the end."""
    fleet = Fleet()
    yield fleet
    fleet.remove()


@pytest.fixture(scope="module")
def environment(own: Fleet) -> dict[str, str]:
    """As a person's shell has it: nothing of the `make` that may have started the tests."""
    inherited = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "VIRTUAL_ENV")
    return {name: value for name, value in own.environment.items() if name not in inherited}


@pytest.mark.parametrize("block", blocks(), ids=lambda block: f"line {block.line}")
def test_what_readme_says_is_what_happens(
    block: Block, own: Fleet, environment: dict[str, str], tmp_path: Path
) -> None:
    script = PREAMBLE + block.script(own.ports, dict.fromkeys(NOT_RUN, "") | interrupted())
    log = tmp_path / "output"  # a file: what outlives the shell would hold a pipe open
    with log.open("w") as output:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=120,
            check=False,
        )
    said = log.read_text("utf-8")
    assert done.returncode == 0, said
    for part, expected in SAID.items():
        if part in block.text:
            assert re.search(expected, said, re.DOTALL), said


def interrupted() -> dict[str, str]:
    """What is run instead of a command that goes on until Ctrl-C."""
    program = ROOT / "tests" / "readme" / "until_ctrl_c.py"
    return {
        command: f"{shlex.join([sys.executable, str(program), awaited])} {command}"
        for command, awaited in UNTIL_CTRL_C.items()
    }


def test_nothing_that_is_left_out_is_gone_from_readme() -> None:
    there = named().union(*(block.commands for block in blocks()))
    assert set(NOT_RUN) - there == set()
    assert set(UNTIL_CTRL_C) - there == set()


def test_what_holds_a_command_that_is_left_out_exists() -> None:
    for _, test in NOT_RUN.values():
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text("utf-8"), test


def test_what_the_text_names_is_in_a_block_too_or_left_out_for_a_reason() -> None:
    run = {command for block in blocks() for command in block.commands}
    assert named() - run - set(NOT_RUN) == set()


def test_what_make_is_asked_for_is_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    commands = named().union(*(block.commands for block in blocks()))
    asked = {
        word
        for command in commands
        for words in re.findall(r"\bmake ((?:-s )?[a-z-]+)", command)
        for word in words.split()
        if word != "-s"
    }
    assert asked - targets - {"venv"} == set()


def test_a_command_that_is_gone_a_port_unknown_and_a_block_are_noticed() -> None:
    block = Block(1, "make up  # all\nmake judge\ncurl localhost:9000/x\n")
    assert block.commands == ["make up", "make judge", "curl localhost:9000/x"]
    script = block.script({"GATEWAY_PORT": 12345}, {"make judge": ""})
    assert script == "make up  # all\n\ncurl localhost:12345/x"
    with pytest.raises(KeyError):
        Block(1, "curl localhost:1234").script({}, {})
    assert named("a `make bench` and a `RATE_LIMIT` and `REPLICAS=2 make up`") == {
        "make bench",
        "REPLICAS=2 make up",
    }
