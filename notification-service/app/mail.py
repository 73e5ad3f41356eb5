"""A mail, and its form on the wire."""

from dataclasses import dataclass
from email.charset import QP, Charset
from email.header import Header
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.utils import formataddr, formatdate, parseaddr
from uuid import UUID

_UTF8 = Charset("utf-8")
_UTF8.body_encoding = QP
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
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def smtp_address(address: str) -> str:
    """The address as SMTP spells it: a local part such as `a..b` needs quotes there."""
    local, _, domain = address.rpartition("@")
    quoted = local.startswith(".") or local.endswith(".") or ".." in local
    return f'"{local}"@{domain}' if quoted else address


def render(mail: Mail, sender: str) -> bytes:
    """The message in RFC 5322 form, CRLF line ends, 7 bit clean.

    The older MIME classes on purpose: the newer EmailMessage drops the quotes of a long address
    when it folds the header, and fails on some that HTML's forms accept. They would also write a
    line break into a header as it stands, hence `one_line` around every value.
    """
    message = MIMEMultipart("alternative")
    name, address = parseaddr(sender)
    domain = address.rpartition("@")[2]
    headers = {
        "From": formataddr((one_line(name), address)),
        "To": smtp_address(mail.recipient),
        "Date": formatdate(usegmt=True),
        # Derived from the event: a mail that is doubled after all can be told by its reader.
        "Message-ID": f"<{mail.event_id}@{domain}>",
        "X-Event-Id": str(mail.event_id),
        "X-Event-Type": mail.event_type,
        "Auto-Submitted": "auto-generated",
    }
    for header, value in headers.items():
        message[header] = one_line(value)
    message["Subject"] = _subject(one_line(mail.subject)[:MAX_SUBJECT])
    for subtype, content in (("plain", mail.text), ("html", mail.html)):
        part = MIMENonMultipart("text", subtype, charset="utf-8")
        part.set_payload(content, _UTF8)
        message.attach(part)
    return b"\r\n".join(message.as_bytes().splitlines()) + b"\r\n"


def _subject(text: str) -> str:
    plain = text.isascii() and "=?" not in text
    return text if plain else Header(text, "utf-8", header_name="Subject").encode()
