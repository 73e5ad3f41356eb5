"""Run every command of README.md, from top to bottom, on a separate fleet with other ports.

Commands that cannot be run here are in NOT_RUN, with the test that covers them.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.fleet_under_test import ROOT, Fleet
from tests.readme.commands import Block, blocks, inline_commands

OWN_PORT = (
    "tests/e2e/test_first_steps.py::test_order_service_port_requires_token_with_auth_required"
)
NOT_RUN: Mapping[str, tuple[str, str]] = {
    "curl localhost:8002/api/orders": (
        "it is tested with the setting that changes its response",
        OWN_PORT,
    ),
    "AUTH_REQUIRED=true make up": (
        "it would start a second fleet",
        OWN_PORT,
    ),
    "make test": (
        "it runs this test",
        "local/tests/test_run_tests.py::test_every_suite_is_found_and_has_tests",
    ),
    "make test s=...": (
        "a part of `make test`",
        "local/tests/test_run_tests.py::test_suite_result_is_that_of_its_tests",
    ),
    "make check": (
        "it takes minutes, and CI runs it first",
        "local/tests/test_checks.py::test_check_result_distinguishes_ok_not_checked_and_failed",
    ),
    "make dev s=order-service": (
        "it would start a second fleet",
        "local/tests/test_dev.py::test_code_change_restarts_service_and_ctrl_c_leaves_fleet_running",
    ),
    "pre-commit install": (
        "it changes the clone's hooks",
        "local/tests/test_workflows.py::test_hooks_run_existing_checks",
    ),
    "python3 -m venv venv && venv/bin/pip install -r requirements-dev.txt": (
        "`make venv` installs the same file and is run",
        "tests/conformance/test_structure.py::test_every_requirement_is_pinned_without_index_url",
    ),
    "make judge": (
        "it takes minutes",
        "tests/judge/test_run.py::test_promise_61_one_minute_of_faults_leaves_correct_state",
    ),
    "make mutants": (
        "it runs a suite for each defect",
        "tests/mutants/test_mutants.py::test_promise_62_mutant_applies_to_current_code",
    ),
    "make bench": (
        "it needs wrk and an idle machine",
        "tests/readme/test_readme.py::test_make_targets_of_readme_exist",
    ),
    "docker compose up --build --wait": (
        "it needs Docker",
        "tests/conformance/test_compose.py::test_compose_file_defines_all_services",
    ),
    "venv/bin/pytest -v": (
        "it is the suite order-service of `make test`",
        "local/tests/test_run_tests.py::test_every_suite_is_found_and_has_tests",
    ),
}
"""Command → the reason why it is not run, and the test that covers it."""

UNTIL_CTRL_C = {
    "make demo": "Running until Ctrl-C.",
    "make logs s=order-service": "request",
}
"""Command → the output after which it is interrupted."""

EXPECTED_OUTPUT = {
    "make demo": r"Order ORD-\S+: CONFIRMED.*Mail to alice@example\.com",
    "localhost:9000/api/orders": r'"status":"CONFIRMED".*"status":"CANCELLED".*"available_qty"',
    "make status": r"order-service.*POST /api/orders",
}
"""A part of a block → the output expected from that block."""

PREAMBLE = """
set -euo pipefail
trap 'echo "README: failed: $BASH_COMMAND" >&2' ERR
curl() { command curl --fail-with-body --max-time 30 "$@"; }
"""
"""Preamble of each script: stop at the first failure, including HTTP errors."""


@pytest.fixture(scope="module")
def readme_fleet() -> Iterator[Fleet]:
    """Ports and folder of a fleet, which README.md starts and stops."""
    fleet = Fleet()
    yield fleet
    fleet.remove()


@pytest.fixture(scope="module")
def environment(readme_fleet: Fleet) -> dict[str, str]:
    """The environment without variables of the `make` that may have started the tests."""
    inherited = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "VIRTUAL_ENV")
    return {
        name: value for name, value in readme_fleet.environment.items() if name not in inherited
    }


@pytest.mark.parametrize("block", blocks(), ids=lambda block: f"line {block.line}")
def test_readme_block_runs_and_prints_expected_output(
    block: Block, readme_fleet: Fleet, environment: dict[str, str], tmp_path: Path
) -> None:
    script = PREAMBLE + block.script(
        readme_fleet.ports, dict.fromkeys(NOT_RUN, "") | interrupted_commands()
    )
    log = tmp_path / "output"  # a file, because background processes would keep a pipe open
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
    output_text = log.read_text("utf-8")
    assert done.returncode == 0, output_text
    for part, expected in EXPECTED_OUTPUT.items():
        if part in block.text:
            assert re.search(expected, output_text, re.DOTALL), output_text


def interrupted_commands() -> dict[str, str]:
    """Return the replacements of commands that run until Ctrl-C."""
    program = ROOT / "tests" / "readme" / "until_ctrl_c.py"
    return {
        command: f"{shlex.join([sys.executable, str(program), awaited])} {command}"
        for command, awaited in UNTIL_CTRL_C.items()
    }


def test_excluded_commands_are_in_readme() -> None:
    present = inline_commands().union(*(block.commands for block in blocks()))
    assert set(NOT_RUN) - present == set()
    assert set(UNTIL_CTRL_C) - present == set()


def test_covering_test_of_excluded_command_exists() -> None:
    for _, test in NOT_RUN.values():
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text("utf-8"), test


def test_inline_commands_are_in_a_block_or_excluded() -> None:
    run = {command for block in blocks() for command in block.commands}
    assert inline_commands() - run - set(NOT_RUN) == set()


def test_make_targets_of_readme_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    commands = inline_commands().union(*(block.commands for block in blocks()))
    used_targets = {
        word
        for command in commands
        for words in re.findall(r"\bmake ((?:-s )?[a-z-]+)", command)
        for word in words.split()
        if word != "-s"
    }
    assert used_targets - targets - {"venv"} == set()


def test_parser_detects_commands_and_unknown_ports() -> None:
    block = Block(1, "make up  # all\nmake judge\ncurl localhost:9000/x\n")
    assert block.commands == ["make up", "make judge", "curl localhost:9000/x"]
    script = block.script({"GATEWAY_PORT": 12345}, {"make judge": ""})
    assert script == "make up  # all\n\ncurl localhost:12345/x"
    with pytest.raises(KeyError):
        Block(1, "curl localhost:1234").script({}, {})
    assert inline_commands("a `make bench` and a `RATE_LIMIT` and `REPLICAS=2 make up`") == {
        "make bench",
        "REPLICAS=2 make up",
    }
