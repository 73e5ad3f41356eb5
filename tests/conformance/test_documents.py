"""Relative links in documents have a target, and every decision record is in the index."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.fleet_under_test import ROOT

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
DECISIONS = ROOT / "docs" / "adr"


def documents() -> list[str]:
    """Return every Markdown file that is tracked or not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file())


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings as GitHub derives them."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", documents())
def test_every_relative_link_has_existing_target(document: str) -> None:
    page = ROOT / document
    for link in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_decision_record_is_in_index_with_title() -> None:
    index = (DECISIONS / "README.md").read_text("utf-8")
    for page in sorted(DECISIONS.glob("[0-9]*.md")):
        number, _, title = (
            page.read_text("utf-8").splitlines()[0].removeprefix("# ").partition(". ")
        )
        assert f"{int(number):04}" == page.name[:4]
        assert f"| {number} | [{title}]({page.name})" in index, page.name


def test_decision_record_has_required_sections() -> None:
    parts = ("Context", "Decision", "Consequences", "Alternatives", "Revisit when")
    for page in sorted(DECISIONS.glob("[0-9]*.md")):
        assert tuple(re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE)) == parts, page
