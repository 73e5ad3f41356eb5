"""A mail, and its form on the wire."""

import re
from binascii import b2a_qp
from dataclasses import dataclass
from email.header import Header
from email.utils import formataddr, formatdate, parseaddr
from uuid import UUID

_LINE_BREAK = re.compile("\r\n?|\n")
_CRLF = "\r\n"
MAX_SUBJECT = 200


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
    """Without control characters and line breaks of any kind: what a header may hold."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def smtp_address(address: str) -> str:
    """The address as SMTP spells it: a local part such as `a..b` needs quotes there."""
    local, _, domain = address.rpartition("@")
    quoted = local.startswith(".") or local.endswith(".") or ".." in local
    return f'"{local}"@{domain}' if quoted else address


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom mails are from: the bare address, and the header with the name in it."""

    address: str
    header: str

    @classmethod
    def of(cls, text: str) -> "Sender":
        """From a form such as `Demo Shop <shop@example.com>`."""
        name, address = parseaddr(text)
        return cls(address, formataddr((one_line(name), address)))

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]


def render(mail: Mail, sender: Sender) -> bytes:
    """The message in RFC 5322 form, CRLF line ends, 7 bit clean.

    Put together by hand, at a sixth of the cost of the email package: its older classes fold and
    encode everything in Python, its newer EmailMessage drops the quotes of a long address when it
    folds the header. No header here is folded; none comes near the limit of 998 characters. Either
    would write a line break into a header as it stands, hence `one_line` around every value.
    """
    boundary = f"=_{mail.event_id.hex}"  # quoted-printable has no "=_"
    headers = {
        "From": sender.header,
        "To": smtp_address(mail.recipient),
        "Date": formatdate(usegmt=True),
        # Derived from the event: a mail that is doubled after all can be told by its reader.
        "Message-ID": f"<{mail.event_id}@{sender.domain}>",
        "X-Event-Id": str(mail.event_id),
        "X-Event-Type": mail.event_type,
        "Auto-Submitted": "auto-generated",
        "MIME-Version": "1.0",
        "Content-Type": f'multipart/alternative; boundary="{boundary}"',
    }
    lines = [_header(field, one_line(value)) for field, value in headers.items()]
    lines.append(_header("Subject", one_line(mail.subject)[:MAX_SUBJECT]))
    head = _CRLF.join(lines)
    parts = (_part(subtype, text) for subtype, text in (("plain", mail.text), ("html", mail.html)))
    return f"\r\n--{boundary}".join([f"{head}\r\n", *parts, "--\r\n"]).encode("ascii")


def _part(subtype: str, text: str) -> str:
    head = (
        f'\r\nContent-Type: text/{subtype}; charset="utf-8"\r\n'
        "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    )
    body = _LINE_BREAK.sub(_CRLF, text).encode("utf-8", "replace")
    return head + b2a_qp(body).decode("ascii")


def _header(field: str, value: str) -> str:
    """As an encoded word where it is not ASCII, or looks like one and was meant as it stands."""
    if value.isascii() and (field != "Subject" or "=?" not in value):
        return f"{field}: {value}"
    return f"{field}: {Header(value, 'utf-8', header_name=field).encode(linesep=_CRLF)}"
