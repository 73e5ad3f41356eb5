"""A subset of Mailpit's search: to:, from:, subject: and words."""

from __future__ import annotations

import shlex
from collections.abc import Callable

from fleet.emulators.mailbox.store import Address, Mail

_FIELDS = ("to", "from", "subject", "message-id")


def matcher(query: str) -> Callable[[Mail], bool]:
    """Return a predicate for mails that contain every word of the query, ignoring case."""
    terms = [_term(word.lower()) for word in _words(query)]
    return lambda mail: all(_found(mail, field, text) for field, text in terms)


def _words(query: str) -> list[str]:
    try:
        return shlex.split(query)
    except ValueError:  # an unclosed quote
        return query.replace('"', " ").replace("'", " ").split()


def _term(word: str) -> tuple[str, str]:
    field, colon, text = word.partition(":")
    return (field, text) if colon and field in _FIELDS else ("", word)


def _found(mail: Mail, field: str, text: str) -> bool:
    return text in _haystack(mail, field).lower()


def _haystack(mail: Mail, field: str) -> str:
    if field == "to":
        return _people(*mail.to, *mail.cc, *mail.bcc)
    if field == "from":
        return _people(mail.sender)
    if field == "subject":
        return mail.subject
    if field == "message-id":
        return mail.message_id
    everyone = _people(mail.sender, *mail.to, *mail.cc, *mail.bcc)
    return "\n".join((everyone, mail.subject, mail.text, mail.html))


def _people(*addresses: Address) -> str:
    return " ".join(f"{person.name} <{person.address}>" for person in addresses)
