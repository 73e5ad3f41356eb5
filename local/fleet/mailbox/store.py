"""The mails that arrived, newest first, in memory."""

from __future__ import annotations

import email
import email.policy
import secrets
import string
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage, MIMEPart
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
    """A message as SMTP handed it over. It is read when somebody wants to see it: reading one
    takes milliseconds, for which whoever sends would wait."""

    raw: bytes
    mail_from: str = ""
    rcpt_to: tuple[str, ...] = ()
    received: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = field(default_factory=lambda: "".join(secrets.choice(_ALPHABET) for _ in range(22)))

    @cached_property
    def mail(self) -> Mail:
        """The same, read."""
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
        """Read a delivered message; whatever cannot be read is left empty, never refused."""
        raw, received = delivery.raw, delivery.received
        message = email.message_from_bytes(raw, policy=email.policy.default)
        assert isinstance(message, EmailMessage)  # noqa: S101 - what the default policy makes
        headers = _headers(message)
        to, cc = _addresses(headers, "To"), _addresses(headers, "Cc")
        shown = {person.address.lower() for person in (*to, *cc)}
        hidden = tuple(Address("", rcpt) for rcpt in delivery.rcpt_to if rcpt.lower() not in shown)
        return cls(
            id=delivery.id,
            received=received,
            date=_date(headers, received),
            sender=next(iter(_addresses(headers, "From")), Address("", delivery.mail_from)),
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


def _headers(message: EmailMessage) -> dict[str, list[str]]:
    """All headers as text; one that cannot be decoded is kept as it came."""
    headers: dict[str, list[str]] = {}
    for name in dict.fromkeys(message.keys()):
        try:
            values = [str(value) for value in message.get_all(name, [])]
        except (ValueError, LookupError, AttributeError, IndexError):
            values = [str(raw) for key, raw in message.raw_items() if key.lower() == name.lower()]
        headers[name] = values
    return headers


def _values(headers: dict[str, list[str]], name: str) -> list[str]:
    return [value for key in headers if key.lower() == name.lower() for value in headers[key]]


def _first(headers: dict[str, list[str]], name: str) -> str:
    return next(iter(_values(headers, name)), "")


def _addresses(headers: dict[str, list[str]], name: str) -> tuple[Address, ...]:
    pairs = getaddresses(_values(headers, name))
    return tuple(Address(person, address) for person, address in pairs if address)


def _date(headers: dict[str, list[str]], received: datetime) -> datetime:
    try:
        return parsedate_to_datetime(_first(headers, "Date")).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return received


def _body(message: EmailMessage, kind: str) -> str:
    """The text of the preferred part of one kind, in whatever character set it claims."""
    part: MIMEPart | None = message.get_body(preferencelist=(kind,))
    if part is None:
        return ""
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except (LookupError, ValueError, KeyError):
        payload = part.get_payload(decode=True)
        return payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
