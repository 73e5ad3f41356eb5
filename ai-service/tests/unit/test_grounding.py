"""Grounding checks: sentences of a model are kept, corrected or dropped."""

from decimal import Decimal

import pytest

from app.retrieval.language import Languages
from app.services.grounding import Grounding, Offer
from app.services.sentences import Sentences

LAMP = Offer("Desk Lamp Halo", Decimal("69.00"), "Desk Lamp Halo (69.00)", frozenset({"brass"}))
PEN = Offer("Fountain Pen Swift", Decimal("58.00"), "Fountain Pen Swift (58.00)")


@pytest.fixture
def grounding(languages: Languages) -> Grounding:
    return Grounding([LAMP, PEN], "a gift under 70", languages, allowed_names=["Toys & Games"])


@pytest.mark.parametrize(
    ("sentence", "kept"),
    [
        ("Sure, have a look at [P1]!", "Sure, have a look at Desk Lamp Halo (69.00)!"),
        ("[p2] is nice.", "Fountain Pen Swift (58.00) is nice."),
        ("Take desk lamp halo.", "Take Desk Lamp Halo (69.00)."),
        ("[P1] for 69.00 is nice.", "Desk Lamp Halo (69.00) is nice."),
        ("[P1] costs 69.00.", "Desk Lamp Halo (69.00) costs 69.00."),
        ("[P1] is under 70.", "Desk Lamp Halo (69.00) is under 70."),
        ("It has a foot of brass.", "It has a foot of brass."),
        ("[P1] and [P2] fit.", "Desk Lamp Halo (69.00) and Fountain Pen Swift (58.00) fit."),
        ("<b>[P1]</b> &amp; [P2]", "Desk Lamp Halo (69.00) & Fountain Pen Swift (58.00)"),
    ],
)  # fmt: skip
def test_correct_sentence_is_kept(grounding: Grounding, sentence: str, kept: str) -> None:
    assert grounding.check(sentence) == kept


@pytest.mark.parametrize(
    ("sentence", "corrected"),
    [
        ("[P1] costs 12.00.", "Desk Lamp Halo (69.00) costs 69.00."),
        ("[P1] for 12.00 only.", "Desk Lamp Halo (69.00) only."),
        ("[P1] is only €5!", "Desk Lamp Halo (69.00) is only 69.00!"),
        ("[P1] costs 58.00 and [P2] costs 69.00.",
         "Desk Lamp Halo (69.00) costs 69.00 and Fountain Pen Swift (58.00) costs 58.00."),
    ],
)  # fmt: skip
def test_wrong_price_is_corrected(grounding: Grounding, sentence: str, corrected: str) -> None:
    assert grounding.check(sentence) == corrected


def test_price_in_next_sentence_refers_to_previous_product(grounding: Grounding) -> None:
    assert grounding.check("[P2] writes well. ") is not None
    assert grounding.check("It costs 20.00.") == "It costs 58.00."


@pytest.mark.parametrize(
    "sentence",
    [
        "The Quantum Toaster 3000 costs 49.99.",
        "We also have the Zephyr Lamp.",
        "Zephyr is a great lamp.",
        'Have a look at "glow cube".',
        "Have a look at **glow cube**.",
        "You might try the XR200.",
        "We have red bicycles for you.",
        "There are drones and kites as well.",
        "A bicycle for 20.00 is there as well.",
        "It costs 20.00.",
        "[P9] is great.",
        "[P0] is great.",
        "[P2] is over 60.",
        "Everything is free today.",
        "[P1] comes with a discount.",
        "Use the voucher SAVE10 for [P1].",
        "[P1] arrives tomorrow.",
        "Your order has been shipped.",
        "I have cancelled it.",
        "See https://evil.example for [P1].",
        "Write to help@evil.example.",
        "My system prompt says that [P1] is good.",
        "Wir haben Fahrräder.",
        "   ",
    ],
)
def test_unsupported_sentence_is_dropped(grounding: Grounding, sentence: str) -> None:
    assert grounding.check(sentence) is None
    assert grounding.named == []


def test_sentence_with_false_price_limit_is_dropped(languages: Languages) -> None:
    grounding = Grounding([LAMP], "a lamp under 50", languages)
    assert grounding.check("[P1] is under 50.") is None


def test_price_after_dropped_sentence_is_dropped(grounding: Grounding) -> None:
    assert grounding.check("[P2] writes well.") is not None
    assert grounding.check("The Quantum Toaster is nice as well.") is None
    assert grounding.check("It costs 58.00.") is None


def test_single_german_noun_is_not_a_name(languages: Languages) -> None:
    grounding = Grounding([LAMP], "eine Lampe", languages, german=True)
    assert grounding.check("Für Ihren Schreibtisch passt [P1] gut.") is not None
    assert grounding.check("Auch der Quantum Toaster ist gut.") is None


def test_answer_length_is_bounded(grounding: Grounding) -> None:
    kept = [grounding.check("[P1] has a foot of brass. ") for _ in range(200)]
    assert kept[0] is not None
    assert kept[-1] is None


@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_sentences_do_not_depend_on_piece_size(size: int) -> None:
    text = 'It costs 49.90. "Really?" Yes!\nOne\n\ntwo e.g. three'
    sentences, found = Sentences(), list[str]()
    for start in range(0, len(text), size):
        found += sentences.feed(text[start : start + size])
    assert "".join([*found, sentences.rest()]) == text
    assert found[0].strip() == "It costs 49.90."
