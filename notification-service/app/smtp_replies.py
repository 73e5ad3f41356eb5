"""Classify the replies of a mail server, by stage, reply code and enhanced status code (RFC 3463).

An enhanced code such as 5.4.5 is `class.subject.detail`. Servers use the same reply code for very
different reasons: `550 5.1.1` is about one recipient, `550 5.4.5` (Gmail's daily quota) about the
whole account. So the enhanced code decides where there is one.
"""

import re
from enum import StrEnum


class Stage(StrEnum):
    """The SMTP command that a reply answers."""

    CONNECT = "connect"  # greeting and EHLO
    TLS = "tls"
    LOGIN = "login"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"  # the command, and the reply to the content


class Outcome(StrEnum):
    """The consequence of a refusal."""

    UNDELIVERABLE = "undeliverable"  # the recipient cannot get this mail: dead letter
    REJECTED = "rejected"  # content or policy: dead letter, unless mails to everyone are rejected
    DEFERRED = "deferred"  # this mail later, by its own retry schedule
    SERVER = "server"  # no mail at present: wait for the server


_ENHANCED = re.compile(r"\s*([245])\.(\d{1,3})\.(\d{1,3})\b")

_ACCOUNT_POLICY = {
    *(0, 3, 8, 9, 10, 11, 12, 13, 14),  # authentication, encryption, account disabled
    *(20, 21, 22, 23, 25, 26, 27, 28, 32),  # DKIM, SPF, DMARC, reverse DNS; rate of mails
}
_VENDOR_POLICY = 500  # Microsoft: 5.7.501 and above are bans and limits of the sending account


def classify(stage: Stage, code: int, text: str) -> Outcome:
    """Return the outcome of a reply that refuses a command.

    Args:
        code: the reply code, 400 or more.
        text: the reply after the code; it begins with the enhanced code, if the server sends one.
    """
    if stage not in (Stage.RCPT, Stage.DATA):
        return Outcome.SERVER  # before RCPT, a refusal concerns the server
    if code in (421, 454, 530, 534, 535, 538):
        return Outcome.SERVER  # closing, throttled, not authenticated: by definition of the code
    match = _ENHANCED.match(text)
    if match is None:
        return _by_code(stage, code, text)
    return _by_enhanced_code(stage, code, int(match[2]), int(match[3]), text)


def enhanced_code(text: str) -> str:
    """Return the enhanced code at the beginning of a reply's text, or an empty text."""
    match = _ENHANCED.match(text)
    return f"{match[1]}.{match[2]}.{match[3]}" if match else ""


def _by_code(stage: Stage, code: int, text: str) -> Outcome:
    """RFC 5321, 4.2.2 and 4.2.3."""
    if code in (451, 450):
        return Outcome.DEFERRED
    if code in (452, 500, 502, 503):
        return Outcome.SERVER  # insufficient system storage; the conversation itself is broken
    if code < 500:
        return Outcome.DEFERRED
    if stage is Stage.DATA:
        return Outcome.REJECTED
    return Outcome.SERVER if _is_relaying_denied(text) else Outcome.UNDELIVERABLE


def _by_enhanced_code(stage: Stage, code: int, subject: int, detail: int, text: str) -> Outcome:
    if _is_about_server(stage, code, subject, detail, text):
        return Outcome.SERVER
    if code < 500:
        return Outcome.DEFERRED
    if subject in (1, 2, 3, 4) or (stage is Stage.RCPT and subject != 7):
        return Outcome.UNDELIVERABLE
    return Outcome.REJECTED


def _is_about_server(stage: Stage, code: int, subject: int, detail: int, text: str) -> bool:
    """True if the server would refuse any mail for this reason."""
    match subject:
        case 1:
            return detail in (7, 8)  # the sender's address
        case 3:
            return detail != 4  # the mail system, but not "message too big"
        case 4:
            return detail in (2, 5)  # bad connection, congestion; Gmail's daily quota
        case 5:
            return code in (500, 502, 503)  # the conversation itself is broken
        case 7:
            return _is_account_policy(stage, code, detail, text)
        case _:
            return False


def _is_account_policy(stage: Stage, code: int, detail: int, text: str) -> bool:
    if code == 552:
        return False  # Gmail's "552 5.7.0": a dangerous attachment
    if stage is Stage.RCPT and code < 500 and detail in (0, 1):
        return False  # greylisting
    if detail in _ACCOUNT_POLICY or detail >= _VENDOR_POLICY:
        return True
    return stage is Stage.RCPT and _is_relaying_denied(text)


def _is_relaying_denied(text: str) -> bool:
    """True if the server relays no mail for this account, to any recipient."""
    return "relay" in text.lower()
