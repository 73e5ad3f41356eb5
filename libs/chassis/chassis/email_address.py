"""E-mail addresses in the one ASCII form in which they are stored and compared."""

import re

import idna

MAX_ADDRESS = 254
# The address syntax of HTML's <input type=email> (WHATWG): plain ASCII, no comments, no quoting,
# nothing that is special in a header; reserved domains such as example.com are valid.
_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_ADDRESS = re.compile(rf"[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(?:\.{_LABEL})+")


def ascii_address(text: str) -> str:
    """Return an address with an internationalised domain in its ASCII form (RFC 5890, `xn--`).

    The case of an address in ASCII is kept. Letters outside ASCII before the @ are refused: they
    need SMTPUTF8 (RFC 6531), which few servers accept.

    Raises:
        ValueError: the text is not an address; the message names the rule.
    """
    local, _, domain = text[: MAX_ADDRESS + 1].rpartition("@")
    if not local.isascii():
        raise ValueError("must have only ASCII characters before the @")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode("ascii")
        except ValueError:
            raise ValueError("must have a domain that is valid in IDNA 2008") from None
    address = f"{local}@{domain}"
    if len(text) > MAX_ADDRESS or len(address) > MAX_ADDRESS:
        raise ValueError(f"must have at most {MAX_ADDRESS} characters")
    if not _ADDRESS.fullmatch(address):
        raise ValueError("must be an address such as alice@example.com")
    return address


def comparable_address(text: str) -> str:
    """Return the form in which two addresses of one mailbox are equal: ASCII, in lower case.

    Raises:
        ValueError: as `ascii_address`.
    """
    return ascii_address(text).lower()
