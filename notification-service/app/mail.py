"""A mail, and its MIME message."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import HeaderRegistry
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr, parseaddr
from functools import lru_cache
from typing import Any
from uuid import UUID

MAX_SUBJECT = 200


class _CachedHeaders(HeaderRegistry):
    """Parse a header once for the same value. This and the fixed boundary halve a message's CPU."""

    def __init__(self) -> None:
        super().__init__()
        self._header_class = lru_cache(maxsize=64)(super().__getitem__)
        self._header = lru_cache(maxsize=64)(super().__call__)

    def __getitem__(self, name: str) -> Any:
        return self._header_class(name)

    def __call__(self, name: str, value: Any) -> Any:
        return self._header(name, value)


# Bodies are ASCII, because not every server accepts 8 bits. With SMTP's own limit of a line, ASCII
# text with more than 78 characters a line needs no encoding.
_FOLDED = SMTP.clone(cte_type="7bit", header_factory=_CachedHeaders())
_UNFOLDED = _FOLDED.clone(max_line_length=998)
_LONG_ADDRESS = 70


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail for one event. `recipient` is a bare address, as the events' models accept it."""

    event_id: UUID
    event_type: str
    recipient: str
    subject: str
    text: str
    html: str


def one_line(text: str) -> str:
    """Replace line breaks and control characters by blanks, as a header requires."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def header_text(text: str) -> str:
    """Make untrusted text safe as a header value.

    EmailMessage decodes encoded words (`=?utf-8?q?...?=`) in the values that it is given, and
    writes line breaks in them as they are.
    """
    return one_line(text).replace("=?", "= ?")


def smtp_address(address: str) -> str:
    """Return the address in the syntax of SMTP, which quotes a local part such as `a..b`."""
    local, _, domain = address.rpartition("@")
    quoted = local.startswith(".") or local.endswith(".") or ".." in local
    return f'"{local}"@{domain}' if quoted else address


@dataclass(frozen=True, slots=True)
class Sender:
    """The sender of all mails: its bare address, and the From header with the name."""

    address: str
    header: str

    @classmethod
    def of(cls, text: str) -> "Sender":
        """Parse an address with or without a name, such as `Demo Shop <shop@example.com>`."""
        name, address = parseaddr(text)
        return cls(address, formataddr((one_line(name), address)))

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def to_message(mail: Mail, sender: Sender) -> bytes:
    """Return the mail as a MIME message: ASCII with CRLF line ends."""
    message = EmailMessage(policy=_UNFOLDED)
    message["From"] = sender.header
    # An address that EmailMessage would decode stays out of the header (see header_text).
    decodable = "=?" in mail.recipient
    message["To"] = "undisclosed-recipients:;" if decodable else smtp_address(mail.recipient)
    message["Subject"] = header_text(mail.subject)[:MAX_SUBJECT]
    message["Date"] = datetime.now(UTC)
    # Derived from the event id, so a mail client can recognise a duplicate.
    message["Message-ID"] = f"<{mail.event_id}@{sender.domain}>"
    message["X-Event-Id"] = str(mail.event_id)
    message["X-Event-Type"] = header_text(mail.event_type)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    message.set_boundary(f"=_{mail.event_id.hex}")
    # EmailMessage loses the quotes of an address when it folds the header.
    is_long = len(mail.recipient) > _LONG_ADDRESS
    return message.as_bytes(policy=_UNFOLDED if is_long else _FOLDED)
