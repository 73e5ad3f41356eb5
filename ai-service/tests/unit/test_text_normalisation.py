"""Words of the catalogue and of questions in many scripts."""

# ruff: noqa: RUF001  (letters that look like others are the subject)

import pytest

from app.retrieval.text_normalisation import fold, split


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
def test_case_accents_and_quotes_do_not_matter(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("バス", "ハス"), ("한국", "하국"), ("ज़", "ज")])
def test_letters_of_other_scripts_keep_their_marks(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize(
    "text", ["हिन्दी लैंप", "مُحَمَّد لَمبة", "שָׁלוֹם מְנוֹרָה", "โคมไฟ น้ำตาล", "crème brulee"]
)
def test_marks_do_not_split_words(text: str) -> None:
    assert split(fold(text)) == fold(text).split()


def test_punctuation_and_underscores_split_words() -> None:
    assert split("don't, wi-fi_x (é)…漢") == ["don", "t", "wi", "fi", "x", "é", "漢"]
