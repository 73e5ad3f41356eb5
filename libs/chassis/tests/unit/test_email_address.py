"""Canonical form of e-mail addresses."""

import pytest

from chassis.email_address import ascii_address, comparable_address


@pytest.mark.parametrize(
    ("text", "ascii_form"),
    [
        ("Alice@Example.com", "Alice@Example.com"),
        ("sales/eu@example.com", "sales/eu@example.com"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("a@bu\u0308cher.example", "a@xn--bcher-kva.example"),
        ("A@BÜCHER.EXAMPLE", "A@xn--bcher-kva.example"),
        ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
        ("a@日本語。jp", "a@xn--wgv71a119e.jp"),
        ("a@faß.de", "a@xn--fa-hia.de"),
        ("a@\uff45xample.com", "a@example.com"),
    ],
)
def test_internationalised_domain_becomes_ascii(text: str, ascii_form: str) -> None:
    assert ascii_address(text) == ascii_form
    assert comparable_address(text) == ascii_form.lower()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "such as alice@"),
        ("alice", "such as alice@"),
        ("alice@example", "such as alice@"),
        ("alice@example.com.", "such as alice@"),
        ("a@bücher.example.", "such as alice@"),
        ("a@b@example.com", "such as alice@"),
        ("a\r\nBcc:x@example.com", "such as alice@"),
        ("a b@example.com", "such as alice@"),
        ('"a"@example.com', "such as alice@"),
        ("jürgen@example.com", "ASCII characters before the @"),
        ("boss\u212a@example.com", "ASCII characters before the @"),
        ("\u200ba@example.com", "ASCII characters before the @"),
        ("a@-ü.example", "IDNA"),
        ("a@" + "ü" * 64 + ".example", "IDNA"),
        ("a@\u2603\ufffd.example", "IDNA"),
        ("a@\ud800.example", "IDNA"),
        ("a@" + "b" * 250 + ".example", "254"),
        ("a" * 100_000 + "@bücher.example", "254"),
        ("a" * 65 + "@example.com", "such as alice@"),
    ],
)
def test_invalid_address_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        ascii_address(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a@faß.de", "a@fass.de"),
        ("a@bücher.example", "a@bucher.example"),
        ("a@bücher.example", "a@buecher.example"),
        ("a.b@example.com", "ab@example.com"),
        ("a+x@example.com", "a@example.com"),
        ("a@\u0430pple.example", "a@apple.example"),
    ],
)
def test_addresses_of_two_mailboxes_stay_different(one: str, other: str) -> None:
    assert comparable_address(one) != comparable_address(other)
