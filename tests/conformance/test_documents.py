"""Documents lead somewhere: every relative link exists, and every decision is in its index."""

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
    """Every page of the checkout, committed or about to be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file())


def anchors(page: Path) -> set[str]:
    """As a forge makes them of headings: lower case, no punctuation, a hyphen for each space."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("document", documents())
def test_every_link_leads_somewhere(document: str) -> None:
    page = ROOT / document
    for link in _LINK.findall(_CODE.sub("", page.read_text("utf-8"))):
        path, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_decision_is_in_the_index_by_its_title() -> None:
    index = (DECISIONS / "README.md").read_text("utf-8")
    for page in sorted(DECISIONS.glob("[0-9]*.md")):
        number, _, title = (
            page.read_text("utf-8").splitlines()[0].removeprefix("# ").partition(". ")
        )
        assert f"{int(number):04}" == page.name[:4]
        assert f"| {number} | [{title}]({page.name}) |" in index, page.name


def test_a_decision_has_the_parts_of_one() -> None:
    parts = ("Context", "Decision", "Consequences", "Alternatives", "Revisit when")
    for page in sorted(DECISIONS.glob("[0-9]*.md")):
        assert tuple(re.findall(r"^## (.+)$", page.read_text("utf-8"), re.MULTILINE)) == parts, page
