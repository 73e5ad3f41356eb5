"""The GitHub workflows match the services and make targets, and have minimal permissions.

Each rule is a function that returns the violations of a workflow. Each rule is also run on a
workflow with a deliberate violation, to detect a rule that finds nothing.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import changed
import pytest
import yaml
from installer import ROOT

from checks import check
from fleet.services import SERVICES

GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").iterdir())
ACTIONS = sorted((GITHUB / "actions").glob("*/action.yml"))
RIGHTS = {  # permissions of jobs besides reading this repository
    ("release.yml", "publish"): {"packages", "id-token", "attestations"},
    ("requirements.yml", "propose"): {"contents", "pull-requests", "actions"},
}
SECRETS = {("release.yml", "publish"), ("release.yml", "deploy")}
NOT_MAKE = {
    "changes",
    "names",
    "ci",
    "propose",
    "judge",
    "deploy",
}  # jobs that may run other commands than make
PINNED = re.compile(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
OWN = re.compile(r"\$/(\.github/[\w./-]+)")
HOST = re.compile(r"\b[\w-]+(?:\.[\w-]+)*\.(?:io|com|org|net|dev|cloud)\b")
MADE = {*re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)}
READ = {*re.findall(r"\$\((\w+)\)", (ROOT / "Makefile").read_text("utf-8"))}


class Workflow:
    """A workflow file, as text and parsed."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.parsed: dict[str, Any] = yaml.safe_load(text)
        self.jobs: dict[str, dict[str, Any]] = self.parsed["jobs"]

    @classmethod
    def of(cls, path: Path) -> Workflow:
        return cls(path.name, path.read_text("utf-8"))

    def steps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for job, content in self.jobs.items():
            for step in content.get("steps", ()):
                yield job, step


Rule = Callable[[Workflow], list[str]]


def unpinned(workflow: Workflow) -> list[str]:
    """Return each `uses` without a full commit and version, except files of this repository."""
    return [
        line
        for line in re.findall(r"\buses: (.+)", workflow.text)
        if not PINNED.fullmatch(line)
        and not ((own := OWN.fullmatch(line)) and (ROOT / own[1]).exists())
    ]


def too_many_rights(workflow: Workflow) -> list[str]:
    """Return jobs with write permissions outside RIGHTS, or without declared permissions."""
    found = [] if workflow.parsed.get("permissions") == {} else ["the whole workflow"]
    for job, content in workflow.jobs.items():
        rights = content.get("permissions", {"everything": "that GitHub likes"})
        allowed = RIGHTS.get((workflow.name, job), set())
        if {right for right, what in rights.items() if what != "read"} - allowed:
            found.append(job)
    return found


def endless(workflow: Workflow) -> list[str]:
    """Return jobs without a timeout. A job that calls a workflow has the workflow's timeouts."""
    return [
        job
        for job, content in workflow.jobs.items()
        if "uses" not in content and not 0 < content.get("timeout-minutes", 0) <= 90
    ]


def keeping_the_token(workflow: Workflow) -> list[str]:
    """Return jobs whose checkout stores the token for all later steps."""
    return [
        job
        for job, step in workflow.steps()
        if step.get("uses", "").startswith("actions/checkout@")
        and step.get("with", {}).get("persist-credentials") is not False
    ]


def commands_that_are_not_there(workflow: Workflow) -> list[str]:
    """Return unknown targets and variables of `make`, and missing scripts."""
    found = []
    for _, step in workflow.steps():
        for line in str(step.get("run", "")).splitlines():
            if line.split()[:1] == ["make"]:
                words = line.partition("|")[0].split()[1:]
                found += [word for word in words if word.partition("=")[0] not in MADE | READ]
            found += [name for name in re.findall(r"\S+\.py\b", line) if not (ROOT / name).exists()]
    return found


def more_than_make(workflow: Workflow) -> list[str]:
    """Return jobs with commands other than `make`, which cannot be repeated locally."""
    return [
        job
        for job, step in workflow.steps()
        if "run" in step and not step["run"].startswith("make ") and job not in NOT_MAKE
    ]


def needing_secrets(workflow: Workflow) -> list[str]:
    """Return jobs that use a secret outside SECRETS or without a protected environment."""
    return [
        job
        for job, content in workflow.jobs.items()
        if "secrets" in json.dumps(content)
        and ((workflow.name, job) not in SECRETS or "environment" not in content)
    ]


def named_hosts(workflow: Workflow) -> list[str]:
    """Return literal host names: the registry belongs in the repository's variables."""
    return HOST.findall(workflow.text)


def unsafe_shells(workflow: Workflow) -> list[str]:
    """Return a default shell other than bash: GitHub then runs bash without pipefail."""
    shell = workflow.parsed.get("defaults", {}).get("run", {}).get("shell")
    return [] if shell == "bash" else [str(shell)]


def without_a_group(workflow: Workflow) -> list[str]:
    """Return the workflow if two of its runs could be concurrent."""
    return [] if workflow.parsed.get("concurrency", {}).get("group") else [workflow.name]


VIOLATIONS: list[tuple[Rule, str, str, str]] = [
    (unpinned, "ci.yml", "@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1", "@v7"),
    (unpinned, "nightly.yml", " # v7.0.1", ""),
    (unpinned, "release.yml", "workflows/ci.yml", "workflows/gone.yml"),
    (too_many_rights, "ci.yml", "contents: read", "contents: write"),
    (too_many_rights, "nightly.yml", "permissions: {}\n\n", ""),
    (too_many_rights, "release.yml", "contents: read", "deployments: write"),
    (endless, "ci.yml", "    timeout-minutes: 45\n", ""),
    (endless, "nightly.yml", "timeout-minutes: 60", "timeout-minutes: 360"),
    (keeping_the_token, "release.yml", "persist-credentials: false", "fetch-tags: true"),
    (commands_that_are_not_there, "ci.yml", "run: make check", "run: make chekc"),
    (commands_that_are_not_there, "ci.yml", "make test s=", "make test suite="),
    (commands_that_are_not_there, "ci.yml", "local/changed.py", "local/gone.py"),
    (more_than_make, "ci.yml", "run: make check", "run: ruff check ."),
    (needing_secrets, "ci.yml", "github.sha", "secrets.ANY"),
    (needing_secrets, "release.yml", "    environment: production\n", ""),
    (named_hosts, "release.yml", "registry.invalid", "registry.example.com"),
    (unsafe_shells, "ci.yml", "shell: bash", "shell: sh"),
    (without_a_group, "ci.yml", "concurrency:\n  group:", "concurrency:\n  other:"),
]
RULES = list(dict.fromkeys(rule for rule, *_ in VIOLATIONS))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_workflow_follows_rule(rule: Rule, path: Path) -> None:
    assert rule(Workflow.of(path)) == []


@pytest.mark.parametrize(("rule", "name", "good", "bad"), VIOLATIONS)
def test_rule_finds_violation(rule: Rule, name: str, good: str, bad: str) -> None:
    text = (GITHUB / "workflows" / name).read_text("utf-8")
    assert good in text
    assert rule(Workflow(name, text.replace(good, bad)))


def test_each_action_is_pinned_to_one_version() -> None:
    versions: dict[str, set[str]] = {}
    for path in [*WORKFLOWS, *ACTIONS]:
        for line in re.findall(r"\buses: (.+)", path.read_text("utf-8")):
            assert PINNED.fullmatch(line) or OWN.fullmatch(line), f"{path.name}: {line}"
            action, _, version = line.partition("@")
            versions.setdefault(action, set()).add(version)
    assert {action: each for action, each in versions.items() if len(each) > 1} == {}


def test_every_service_is_tested_and_built() -> None:
    suites, images = changed.everything()
    assert images == {service.name for service in SERVICES}
    assert images == {path.parent.name for path in ROOT.glob("[!.]*/Dockerfile")}
    assert suites >= images | {"chassis", "local", "tests"}
    jobs = Workflow.of(GITHUB / "workflows" / "ci.yml").jobs
    assert jobs["test"]["strategy"]["matrix"] == {
        "suite": "${{ fromJSON(needs.changes.outputs.suites) }}"
    }
    for workflow, job, source in (
        ("ci.yml", "build", "needs.changes.outputs.images"),
        ("release.yml", "publish", "needs.ci.outputs.images"),
    ):
        content = Workflow.of(GITHUB / "workflows" / workflow).jobs[job]
        assert content["strategy"]["matrix"] == {"image": f"${{{{ fromJSON({source}) }}}}"}
        for step in content["steps"]:
            if step.get("uses", "").startswith("docker/build-push-action@"):
                assert step["with"]["file"] == "${{ matrix.image }}/Dockerfile"


def test_job_ci_needs_all_other_jobs() -> None:
    jobs = Workflow.of(GITHUB / "workflows" / "ci.yml").jobs
    assert set(jobs["ci"]["needs"]) == set(jobs) - {"ci"}
    assert jobs["ci"]["if"] == "always()"  # a skipped job would count as successful
    (step,) = jobs["ci"]["steps"]
    for bad in ("failure", "cancelled"):
        assert f"contains(needs.*.result, '{bad}')" in step["env"]["BAD"]
    assert "skipped" not in step["env"]["BAD"]


def test_publish_and_deploy_need_their_variables() -> None:
    jobs = Workflow.of(GITHUB / "workflows" / "release.yml").jobs
    assert jobs["publish"]["if"] == "vars.REGISTRY != ''"
    assert jobs["deploy"]["if"] == "vars.DEPLOY_HOST != ''"
    assert "publish" in jobs["deploy"]["needs"]
    assert "ci" in jobs["publish"]["needs"]


# -- `make check` looks at workflows as well


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("runs-on: ubuntu-latest", "runs-in: ubuntu-latest", "runs-in"),
        ("needs.changes.outputs.suites", "needs.changes.outputs.suits", "suits"),
        ('run: make test s="$SUITE"', "run: make test s=${{ github.head_ref }}", "github.head_ref"),
        ("          persist-credentials: false\n", "          lfs: false\n", "artipacked"),
    ],
)
def test_workflow_mistake_fails_the_check(good: str, bad: str, said: str, tmp_path: Path) -> None:
    text = (GITHUB / "workflows" / "ci.yml").read_text("utf-8")
    assert good in text
    folder = tmp_path / ".github"
    (folder / "workflows").mkdir(parents=True)
    (folder / "workflows" / "ci.yml").write_text(text.replace(good, bad), encoding="utf-8")
    output = ""
    for one in check.workflow_checks(folder):
        done = subprocess.run(one.command, capture_output=True, text=True, check=False)
        output += done.stdout + done.stderr if done.returncode else ""
    assert said in output


# -- hooks and container


def test_hooks_run_existing_checks() -> None:
    known = {each.name for each in check.checks()}
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        program, *rest = shlex.split(hook["entry"])
        assert hook["language"] == "system"  # pre-commit downloads nothing
        if program == "make":
            assert set(rest) <= MADE, hook["id"]
            continue
        assert (ROOT / program).is_file()
        assert rest[:2] == ["-m", "checks"]
        assert set(rest[2:]) <= known, hook["id"]


def test_only_named_checks_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["format"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert check.main(["format", "fromat"]) == 1
    assert "There is no check fromat" in capsys.readouterr().out


def test_devcontainer_forwards_and_labels_all_pages() -> None:
    folder = ROOT / ".devcontainer"
    container = json.loads((folder / "devcontainer.json").read_text("utf-8"))
    pages = (8025, 8081, 8090, 4318)  # mailbox, identity, topics, traces
    assert set(container["forwardPorts"]) == {*pages, *(each.default_port for each in SERVICES)}
    labels = {int(port): each["label"] for port, each in container["portsAttributes"].items()}
    assert labels.keys() == set(container["forwardPorts"])
    for service in SERVICES:
        assert labels[service.default_port].startswith(service.name)
    assert container["postCreateCommand"].split()[1] in MADE
    text = (folder / container["build"]["dockerfile"]).read_text("utf-8")
    assert re.search(r"^FROM python:3\.1[123]-slim$", text, re.MULTILINE)
    assert "USER" in text
