"""Folding of case and accents in many scripts, used by search and by the assistant."""

# ruff: noqa: RUF001  (letters that look like others are the subject)

import sys
import unicodedata

import pytest

from chassis.text_folding import fold_letters


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Smørrebrød Kniv", "smorrebrod kniv"),
        ("Łódź", "lodz"),
        ("Đorđe ĐỖ", "dorde do"),
        ("Straße STRASSE ẞ", "strasse strasse ss"),
        ("Ærø Œuvre", "aero oeuvre"),
        ("Þórður Ðe", "thordur de"),
        ("İstanbul ISPARTA ısı", "istanbul isparta isi"),
        ("Ħamrun ŧ ŋ ĸ ə", "hamrun t n k e"),
        ("Ɓɗƙ ƒ ƶ ɨ ʉ", "bdk f z i u"),
        ("Crème BRÛLÉE Ñandú", "creme brulee nandu"),
        ("Tiếng Việt Ơ ư", "tieng viet o u"),
        ("Çağrı Şile Ğ", "cagri sile g"),
        ("Ǻ ǽ Ǿ", "a ae o"),
        ("ΣΊΣΥΦΟΣ σίσυφος ᾠδή ΰ", "σισυφοσ σισυφοσ ωδη υ"),
        ("Ёлка Йод їжак", "елка иод іжак"),
        ("ﬁne ﬀ ﬃ ﬆ Ǆ ĳ", "fine ff ffi st dz ij"),
        ("ＬＡＭＰ　ｌａｍｐ１", "lamp lamp1"),
        ("𝐋𝔞𝕞𝓹 Ⓛ ㎏ Å K ſ", "lamp l kg a k s"),
        ("e\u0301\u0323\u0302", "e"),
        ("\u0301", ""),
        ("1\u0301 -\u0308", "1 -"),
    ],
)
def test_accents_of_latin_greek_and_cyrillic_are_removed(text: str, folded: str) -> None:
    assert fold_letters(text) == folded


@pytest.mark.parametrize(
    "text",
    [
        "バス時刻表",
        "ハス茶",
        "がぎぐげご パピプペポ ヴ か゚",
        "한국어 조명 ㄱㅏ",
        "हिन्दी ज़ क़ लैंप",
        "தமிழ் விளக்கு",
        "বাংলা য়",
        "עִבְרִית שָׁלוֹם",
        "مُحَمَّد آب لَمبة",
        "น้ำตาล โคมไฟ",
        "ນ້ຳ",
        "ខ្មែរ",
        "བོད་ཡིག",
        "አማርኛ",
        "漢字 灯",
    ],
)
def test_marks_of_other_scripts_are_kept(text: str) -> None:
    assert fold_letters(text) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ﾊﾞｽ", "バス"),
        ("ﾊｽ", "ハス"),
        ("バス", "ハ\u3099ス"),
        ("한국", unicodedata.normalize("NFD", "한국")),
        ("Ａ４", "a4"),
        ("e\u0301", "É"),
    ],
)
def test_equivalent_spellings_are_equal(one: str, other: str) -> None:
    assert fold_letters(one) == fold_letters(other)


@pytest.mark.parametrize(("one", "other"), [("バス", "ハス"), ("パス", "バス"), ("が", "か")])
def test_kana_with_and_without_voicing_mark_differ(one: str, other: str) -> None:
    assert fold_letters(one) != fold_letters(other)


def test_folding_is_idempotent_for_every_character() -> None:
    every = map(chr, range(sys.maxunicode + 1))
    folding = [char for char in every if _has_case_or_decomposition(char)]
    assert len(folding) > 5_000
    for char in folding:
        for text in (char, f"a{char}", f"{char}\u0301", f"ハ{char}"):
            assert fold_letters(fold_letters(text)) == fold_letters(text), ascii(char)


def _has_case_or_decomposition(char: str) -> bool:
    return char.casefold() != char or bool(unicodedata.decomposition(char))
