"""The received mails, in memory."""

from __future__ import annotations

import email
import secrets
import string
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime
from functools import cached_property

_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Address:
    """One mail address with its display name."""

    name: str
    address: str


@dataclass
class Delivery:
    """A delivered message, parsed on first use."""

    raw: bytes
    mail_from: str = ""
    rcpt_to: tuple[str, ...] = ()
    received: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: "".join(secrets.choice(_ALPHABET) for _ in range(22)))

    @cached_property
    def mail(self) -> Mail:
        """The parsed message."""
        return Mail.parse(self)


@dataclass(frozen=True)
class Mail:
    """One parsed mail."""

    id: str
    received: datetime
    date: datetime
    sender: Address
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    bcc: tuple[Address, ...]
    subject: str
    message_id: str
    text: str
    html: str
    headers: dict[str, list[str]]
    size: int
    raw: bytes

    @classmethod
    def parse(cls, delivery: Delivery) -> Mail:
        """Parse a delivered message; a part that cannot be decoded is left empty.

        The parser uses the policy ``compat32``: it takes a twentieth of the time of
        ``email.policy.default``, which parses each structured header at every access.
        """
        raw, received = delivery.raw, delivery.received
        message = email.message_from_bytes(raw)
        unparsed = _unparsed_headers(message)
        headers = {name: [_decoded(value) for value in unparsed[name]] for name in unparsed}
        to, cc = _addresses(unparsed, "To"), _addresses(unparsed, "Cc")
        shown = {person.address.lower() for person in (*to, *cc)}
        hidden = tuple(Address("", rcpt) for rcpt in delivery.rcpt_to if rcpt.lower() not in shown)
        return cls(
            id=delivery.id,
            received=received,
            date=_date(headers, received),
            sender=next(iter(_addresses(unparsed, "From")), Address("", delivery.mail_from)),
            to=to,
            cc=cc,
            bcc=hidden,
            subject=_first(headers, "Subject"),
            message_id=_first(headers, "Message-ID").strip("<> "),
            text=_body(message, "plain"),
            html=_body(message, "html"),
            headers=headers,
            size=len(raw),
            raw=raw,
        )

    @property
    def snippet(self) -> str:
        """The first words of the text, for the list."""
        return " ".join(self.text.split())[:250]


class Store:
    """The last ``limit`` mails."""

    def __init__(self, limit: int) -> None:
        """``limit`` is the number of stored mails; the oldest are removed."""
        self._limit = limit
        self._mails: OrderedDict[str, Delivery] = OrderedDict()
        self._read: set[str] = set()
        self.revision = 0

    def __len__(self) -> int:
        return len(self._mails)

    def __iter__(self) -> Iterator[Mail]:
        """Iterate newest first."""
        return (delivery.mail for delivery in reversed(self._mails.values()))

    def add(self, delivery: Delivery) -> None:
        """Store a mail; remove the oldest above the limit."""
        self._mails[delivery.id] = delivery
        while len(self._mails) > self._limit:
            forgotten, _ = self._mails.popitem(last=False)
            self._read.discard(forgotten)
        self.revision += 1

    def get(self, mail_id: str) -> Mail | None:
        """Return a mail by id; ``latest`` is the newest, as in Mailpit."""
        if mail_id == "latest":
            return next(iter(self), None)
        delivery = self._mails.get(mail_id)
        return delivery.mail if delivery else None

    def is_read(self, mail: Mail | Delivery) -> bool:
        """Return whether a mail is marked as read."""
        return mail.id in self._read

    def mark_read(self, mail: Mail) -> None:
        """Mark a mail as read."""
        self._read.add(mail.id)

    @property
    def unread(self) -> int:
        """Number of unread mails."""
        return len(self._mails) - len(self._read)

    def clear(self, ids: list[str] | None = None) -> None:
        """Delete these mails, or all."""
        for mail_id in ids or list(self._mails):
            self._mails.pop(mail_id, None)
            self._read.discard(mail_id)
        self.revision += 1

    def deliveries(self) -> list[Delivery]:
        """Return all deliveries, newest first, without parsing them."""
        return list(reversed(self._mails.values()))

    def find(self, matches: Callable[[Mail], bool]) -> list[Delivery]:
        """Return the deliveries whose mail matches, newest first."""
        return [delivery for delivery in self.deliveries() if matches(delivery.mail)]


def _unparsed_headers(message: Message) -> dict[str, list[str]]:
    """Return the headers unfolded, not yet decoded; bytes outside ASCII are read as UTF-8."""
    headers: dict[str, list[str]] = {}
    for name, value in message.raw_items():
        text = "".join(str(value).splitlines())
        headers.setdefault(name, []).append(
            text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        )
    return headers


def _decoded(value: str) -> str:
    """Return a header value with its encoded words decoded, or unchanged if they are invalid."""
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, ValueError):
        return value


def _values(headers: dict[str, list[str]], name: str) -> list[str]:
    return [value for key in headers if key.lower() == name.lower() for value in headers[key]]


def _first(headers: dict[str, list[str]], name: str) -> str:
    return next(iter(_values(headers, name)), "")


def _addresses(headers: dict[str, list[str]], name: str) -> tuple[Address, ...]:
    """Return the addresses of a header; names are decoded last, for they may contain commas."""
    pairs = getaddresses(_values(headers, name))
    return tuple(Address(_decoded(person), address) for person, address in pairs if address)


def _date(headers: dict[str, list[str]], received: datetime) -> datetime:
    try:
        return parsedate_to_datetime(_first(headers, "Date")).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return received


def _body(message: Message, subtype: str) -> str:
    """Return the text of the first part ``text/<subtype>`` that is not an attachment."""
    for part in message.walk():
        attached = part.get_content_disposition() == "attachment"
        if part.get_content_type() == f"text/{subtype}" and not attached:
            payload = part.get_payload(decode=True)
            content = payload if isinstance(payload, bytes) else b""
            return _text(content, part.get_content_charset("utf-8")).replace("\r\n", "\n")
    return ""


def _text(content: bytes, charset: str) -> str:
    try:
        return content.decode(charset, "replace")
    except LookupError:  # an unknown character set
        return content.decode("utf-8", "replace")
