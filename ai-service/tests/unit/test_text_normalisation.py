"""Folding and splitting of words in many scripts."""

# ruff: noqa: RUF001  (confusable characters are intended)

import pytest

from chassis.search.analysis import fold, split


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Smørrebrød", "SMORREBROD"),
        ("Łódź", "lodz"),
        ("Größe", "GROSSE"),
        ("İstanbul", "istanbul"),
        ("Ｌａｍｐ", "lamp"),
        ("ﾊﾞｽ", "バス"),
        ("kids\u2019", "kids'"),
    ],
)
def test_fold_ignores_case_accents_and_quotes(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("バス", "ハス"), ("한국", "하국"), ("ज़", "ज")])
def test_fold_keeps_marks_of_other_scripts(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize(
    "text", ["हिन्दी लैंप", "مُحَمَّد لَمبة", "שָׁלוֹם מְנוֹרָה", "โคมไฟ น้ำตาล", "crème brulee"]
)
def test_split_keeps_combining_marks_in_words(text: str) -> None:
    assert split(fold(text)) == fold(text).split()


def test_split_at_punctuation_and_underscores() -> None:
    assert split("don't, wi-fi_x (é)…漢") == ["don", "t", "wi", "fi", "x", "é", "漢"]
