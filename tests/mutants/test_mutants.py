"""Promise 62: the mutants fit the code, and the one who plants them cannot be fooled.

That each is caught is `make mutants`; here is what must hold at every commit, and costs little.
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
def test_promise_62_a_mutant_fits_the_code_of_today(planted: Mutant) -> None:
    """Promise 62: it can be planted, and its test is still there."""
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


def test_no_two_mutants_have_one_name() -> None:
    names = [planted.name for planted in MUTANTS]
    assert len(set(names)) == len(names) >= 14


@pytest.mark.parametrize("text", ["no such text", "self"])
def test_a_text_that_is_not_there_exactly_once_is_an_error(text: str) -> None:
    with pytest.raises(CodeMoved, match="The code has moved: update the mutant"):
        Edit(SERVICE, text, "").applied((ROOT / SERVICE).read_text("utf-8"))


def test_a_mutant_whose_code_has_moved_is_not_taken_for_caught(
    checkout: Checkout,
) -> None:
    result = try_out(checkout, mutant(Edit(SERVICE, "no such text", "")))
    assert "The code has moved" in result.wrong


def test_a_mutant_that_survives_is_named_and_the_exit_code_is_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    harmless = mutant(Edit(SERVICE, '"Mails sent"', '"Mails that were sent"'))
    assert run([harmless]) == 1
    said = capsys.readouterr().out
    assert "made-up: SURVIVED" in said
    assert "0 of 1 caught" in said


def test_a_mutant_that_is_caught_is_told_with_its_test(
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
def test_code_that_does_not_run_at_all_is_no_mutant(checkout: Checkout, text: str, by: str) -> None:
    """Whatever test there is would fail: that shows nothing."""
    result = try_out(checkout, mutant(Edit(SERVICE, text, by)))
    assert result.wrong.startswith("ERROR")
    assert (checkout.folder / SERVICE).read_bytes() == (ROOT / SERVICE).read_bytes()


def test_a_test_that_fails_without_any_mutant_shows_nothing(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    with checkout.changed([Edit(SERVICE, "            await self._mailer.send(mail)\n", "")]):
        assert not without_a_defect(checkout, [mutant()])
    assert "fails without any mutant" in capsys.readouterr().out


@pytest.mark.parametrize("suite", ["order-service", "libs/chassis"])
def test_what_runs_is_the_copys_code(tmp_path: Path, suite: str) -> None:
    """Each library is installed from the original; the copy's must come before it."""
    copy = Checkout(tmp_path)
    copy.prove(suite)
    (copy.folder / "libs/chassis/chassis").rename(copy.folder / "libs/chassis/elsewhere")
    with pytest.raises(BrokenRun, match="which is not the copy's"):
        copy.prove(suite)


def test_an_unknown_name_is_told_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-mutant"]) == 2
    assert "update-without-guard" in capsys.readouterr().out
