"""The mails that arrived, newest first, in memory."""

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
    """One mail address with the name that stands before it."""

    name: str
    address: str


@dataclass
class Delivery:
    """A message as SMTP delivered it, parsed on first use."""

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
    """One mail as it arrived, with the parts that the page shows already read out of it."""

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
        """The first words, for the list."""
        return " ".join(self.text.split())[:250]


class Store:
    """The last ``limit`` mails."""

    def __init__(self, limit: int) -> None:
        """``limit``: how many mails are kept; the oldest goes first."""
        self._limit = limit
        self._mails: OrderedDict[str, Delivery] = OrderedDict()
        self._read: set[str] = set()
        self.revision = 0

    def __len__(self) -> int:
        return len(self._mails)

    def __iter__(self) -> Iterator[Mail]:
        """Newest first."""
        return (delivery.mail for delivery in reversed(self._mails.values()))

    def add(self, delivery: Delivery) -> None:
        """Keep a mail, and forget the oldest above the limit."""
        self._mails[delivery.id] = delivery
        while len(self._mails) > self._limit:
            forgotten, _ = self._mails.popitem(last=False)
            self._read.discard(forgotten)
        self.revision += 1

    def get(self, mail_id: str) -> Mail | None:
        """One mail by its id; ``latest`` is the newest, as in Mailpit."""
        if mail_id == "latest":
            return next(iter(self), None)
        delivery = self._mails.get(mail_id)
        return delivery.mail if delivery else None

    def is_read(self, mail: Mail | Delivery) -> bool:
        """Whether somebody has opened it."""
        return mail.id in self._read

    def mark_read(self, mail: Mail) -> None:
        """Somebody has opened it."""
        self._read.add(mail.id)

    @property
    def unread(self) -> int:
        """How many nobody has opened."""
        return len(self._mails) - len(self._read)

    def clear(self, ids: list[str] | None = None) -> None:
        """Forget these mails, or all."""
        for mail_id in ids or list(self._mails):
            self._mails.pop(mail_id, None)
            self._read.discard(mail_id)
        self.revision += 1

    def deliveries(self) -> list[Delivery]:
        """All of them, newest first, none read for it."""
        return list(reversed(self._mails.values()))

    def find(self, matches: Callable[[Mail], bool]) -> list[Delivery]:
        """Those whose mail matches, newest first."""
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
    except LookupError:  # a character set that Python does not have
        return content.decode("utf-8", "replace")
