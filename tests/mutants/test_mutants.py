"""Promise 62: the mutants apply to the current code, and the tool reports survivors.

`make mutants` checks that each is caught; these tests are the cheap part that runs at every commit.
"""

import re
from pathlib import Path

import pytest

from tests.mutants.__main__ import main, run, try_out, without_a_defect
from tests.mutants.checkout import ROOT, BrokenRun, Checkout
from tests.mutants.mutant import CodeMoved, Edit, Mutant
from tests.mutants.table import MUTANTS

SERVICE = "notification-service/app/services/email_service.py"
TEST = "tests/unit/test_email_service.py::test_send_records_the_mail_after_it_is_sent"


def mutant(*edits: Edit) -> Mutant:
    return Mutant("made-up", (24,), "notification-service", TEST, edits)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.parametrize("planted", MUTANTS, ids=lambda planted: planted.name)
def test_promise_62_mutant_applies_to_current_code(planted: Mutant) -> None:
    """Promise 62: the mutant can be applied, and its test exists."""
    sources = {edit.file: (ROOT / edit.file).read_text("utf-8") for edit in planted.edits}
    changed = dict(sources)
    for edit in planted.edits:
        changed[edit.file] = edit.applied(changed[edit.file])
    assert all(changed[name] != sources[name] for name in sources)
    for name, source in changed.items():
        compile(source, name, "exec")
    file, *_, name = planted.test.split("::")
    tests = (ROOT / planted.suite / file).read_text("utf-8")
    assert re.search(rf"^ *(async )?def {name}\(", tests, re.MULTILINE)


def test_mutant_names_are_unique() -> None:
    names = [planted.name for planted in MUTANTS]
    assert len(set(names)) == len(names) >= 14


@pytest.mark.parametrize("text", ["no such text", "self"])
def test_edit_text_not_found_exactly_once_raises(text: str) -> None:
    with pytest.raises(CodeMoved, match="The code has moved: update the mutant"):
        Edit(SERVICE, text, "").applied((ROOT / SERVICE).read_text("utf-8"))


def test_mutant_with_moved_code_does_not_count_as_caught(
    checkout: Checkout,
) -> None:
    result = try_out(checkout, mutant(Edit(SERVICE, "no such text", "")))
    assert "The code has moved" in result.wrong


def test_surviving_mutant_is_reported_with_exit_code_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    harmless = mutant(Edit(SERVICE, '"Mails sent"', '"Mails that were sent"'))
    assert run([harmless]) == 1
    printed = capsys.readouterr().out
    assert "made-up: SURVIVED" in printed
    assert "0 of 1 caught" in printed


def test_caught_mutant_is_reported_with_its_test(
    capsys: pytest.CaptureFixture[str],
) -> None:
    forgetful = mutant(Edit(SERVICE, "            await self._mailer.send(mail)\n", ""))
    assert run([forgetful]) == 0
    assert "test_send_records_the_mail_after_it_is_sent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("from app.mail import Mail\n", "from app.mail import NoSuchThing as Mail\n"),
        ("await self._mailer.send(mail)", "await self._mailer.send(no_such_name)"),
        ("await self._mailer.send(mail)", "await self._mailer.send_it(mail)"),
        ("await self._mailer.send(mail)", "await self._mailer.send(mail"),
    ],
    ids=["import", "name", "attribute", "syntax"],
)
def test_mutant_that_does_not_run_is_an_error(checkout: Checkout, text: str, by: str) -> None:
    """Every test would fail, so the failure proves nothing."""
    result = try_out(checkout, mutant(Edit(SERVICE, text, by)))
    assert result.wrong.startswith("ERROR")
    assert (checkout.folder / SERVICE).read_bytes() == (ROOT / SERVICE).read_bytes()


def test_test_that_fails_without_mutant_is_reported(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    with checkout.changed([Edit(SERVICE, "            await self._mailer.send(mail)\n", "")]):
        assert not without_a_defect(checkout, [mutant()])
    assert "fails without any mutant" in capsys.readouterr().out


@pytest.mark.parametrize("suite", ["order-service", "libs/chassis"])
def test_tests_run_against_copied_code(tmp_path: Path, suite: str) -> None:
    """Libraries are installed from the original; the copy must precede them on the path."""
    copy = Checkout(tmp_path)
    copy.prove(suite)
    (copy.folder / "libs/chassis/chassis").rename(copy.folder / "libs/chassis/elsewhere")
    with pytest.raises(BrokenRun, match="which is not the copy's"):
        copy.prove(suite)


def test_unknown_mutant_name_lists_known_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-mutant"]) == 2
    assert "update-without-guard" in capsys.readouterr().out
