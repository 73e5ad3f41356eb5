"""The classification of SMTP replies, as a table of replies that real servers send."""

import pytest

from app.smtp_replies import Outcome, Stage, classify, enhanced_code

UNDELIVERABLE, REJECTED = Outcome.UNDELIVERABLE, Outcome.REJECTED
DEFERRED, SERVER = Outcome.DEFERRED, Outcome.SERVER
CONNECT, TLS, LOGIN = Stage.CONNECT, Stage.TLS, Stage.LOGIN
MAIL, RCPT, DATA = Stage.MAIL, Stage.RCPT, Stage.DATA

TABLE = [
    # before RCPT: the connection, the account or the sender
    (CONNECT, "554 No SMTP service here", SERVER),
    (CONNECT, "421 4.7.0 Too many connections", SERVER),
    (CONNECT, "550 5.7.1 Helo command rejected", SERVER),
    (TLS, "454 4.7.0 TLS not available due to local problem", SERVER),
    (LOGIN, "535 5.7.8 Username and Password not accepted", SERVER),
    (LOGIN, "534 5.7.9 Application-specific password required", SERVER),
    (LOGIN, "454 4.7.0 Too many login attempts", SERVER),
    (MAIL, "530 5.7.0 Authentication Required", SERVER),
    (MAIL, "550 5.7.1 Sender rejected", SERVER),
    (MAIL, "452 4.3.1 Insufficient system storage", SERVER),
    (MAIL, "501 Invalid MAIL FROM address provided", SERVER),
    # the recipient's address or mailbox
    (RCPT, "550 5.1.1 The email account does not exist", UNDELIVERABLE),
    (RCPT, "550 No such user here", UNDELIVERABLE),
    (RCPT, "553 Mailbox name not allowed", UNDELIVERABLE),
    (RCPT, "501 5.1.3 Bad recipient address syntax", UNDELIVERABLE),
    (RCPT, "556 5.1.10 Domain has a null MX", UNDELIVERABLE),
    (RCPT, "550 5.2.1 The account is disabled", UNDELIVERABLE),
    (DATA, "552 5.2.2 Mailbox over quota", UNDELIVERABLE),
    (DATA, "550 5.1.1 User unknown", UNDELIVERABLE),
    (RCPT, "550 5.4.1 Recipient address rejected: Access denied", UNDELIVERABLE),
    (RCPT, "550 5.4.4 Unable to route", UNDELIVERABLE),
    (DATA, "554 5.4.6 Routing loop", UNDELIVERABLE),
    (DATA, "552 5.3.4 Message too big for system", UNDELIVERABLE),
    (DATA, "552 5.2.3 Message exceeds the size limit of the mailbox", UNDELIVERABLE),
    (RCPT, "553 5.5.4 Unsupported address form", UNDELIVERABLE),
    # this mail later
    (RCPT, "450 4.7.1 Greylisted", DEFERRED),
    (RCPT, "451 4.7.0 Greylisted", DEFERRED),
    (RCPT, "450 Greylisted, try again", DEFERRED),
    (RCPT, "451 4.7.1 Greylisting in action", DEFERRED),
    (DATA, "451 4.7.1 Greylisting in action", DEFERRED),
    (RCPT, "450 4.2.1 The user receives mail at too high a rate", DEFERRED),
    (RCPT, "452 4.2.2 Mailbox full", DEFERRED),
    (DATA, "452 4.2.2 Account over quota", DEFERRED),
    (RCPT, "450 4.1.1 User unknown in local table, try later", DEFERRED),
    (RCPT, "451 4.4.1 No answer from host", DEFERRED),
    (RCPT, "451 4.4.3 Temporary lookup failure", DEFERRED),
    (RCPT, "452 4.5.3 Too many recipients", DEFERRED),
    (DATA, "451 Local error in processing", DEFERRED),
    (DATA, "450 4.6.0 Conversion failed", DEFERRED),
    # the server, whatever the mail
    (RCPT, "421 4.4.2 Timeout, closing connection", SERVER),
    (DATA, "421 4.7.28 Unusual rate of mail from your address", SERVER),
    (DATA, "421 Closing", SERVER),
    (DATA, "550 5.4.5 Daily user sending limit exceeded", SERVER),
    (DATA, "550-5.4.5 Daily limit\n5.4.5 exceeded", SERVER),
    (RCPT, "550 5.4.5 Daily SMTP relay limit exceeded", SERVER),
    (DATA, "454 4.7.0 Too many messages", SERVER),
    (DATA, "454 Throttling failure: Maximum sending rate exceeded", SERVER),
    (RCPT, "454 4.7.1 Relay access denied", SERVER),
    (RCPT, "454 Throttling failure: Daily message quota exceeded", SERVER),
    (DATA, "452 4.3.1 Insufficient system storage", SERVER),
    (DATA, "452 Insufficient system storage", SERVER),
    (DATA, "451 4.3.0 Temporary system problem", SERVER),
    (RCPT, "451 4.3.2 System not accepting messages", SERVER),
    (DATA, "554 5.3.0 Other mail system problem", SERVER),
    (DATA, "451 4.4.2 Bad connection", SERVER),
    (DATA, "451 4.7.0 Temporary server error", SERVER),
    (DATA, "451 4.7.500 Server busy", SERVER),
    (RCPT, "450 4.7.25 Reverse DNS lookup failed", SERVER),
    (DATA, "550 5.7.0 Mail relay denied", SERVER),
    (RCPT, "550 5.7.0 Authentication required", SERVER),
    (RCPT, "530 Authentication required", SERVER),
    (RCPT, "554 5.7.1 <bob@example.com>: Relay access denied", SERVER),
    (RCPT, "550 relaying denied", SERVER),
    (DATA, "550 5.7.26 Unauthenticated mail is prohibited by the domain's policy", SERVER),
    (DATA, "550 5.7.501 Access denied, spam abuse detected", SERVER),
    (RCPT, "553 5.1.8 Sender address rejected: domain not found", SERVER),
    (RCPT, "503 5.5.1 Bad sequence of commands", SERVER),
    (DATA, "503 Bad sequence of commands", SERVER),
    (DATA, "502 5.5.1 Unrecognized command", SERVER),
    # the content of this mail, or a policy against it
    (DATA, "554 5.7.1 Message content rejected", REJECTED),
    (DATA, "554 Message rejected", REJECTED),
    (DATA, "550 Looks like spam", REJECTED),
    (DATA, "552 5.7.0 This message was blocked because its content is dangerous", REJECTED),
    (RCPT, "554 5.7.1 Client host blocked using a blocklist", REJECTED),
    (RCPT, "550 5.7.129 Recipient accepts mail from members only", REJECTED),
    (DATA, "554 5.6.0 Invalid message content", REJECTED),
    (DATA, "550 5.5.0 Requested action not taken", REJECTED),
]


@pytest.mark.parametrize(("stage", "reply", "outcome"), TABLE)
def test_reply_has_the_outcome_of_its_cause(stage: Stage, reply: str, outcome: Outcome) -> None:
    assert classify(stage, int(reply[:3]), reply[4:]) is outcome


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("code", range(400, 600))
def test_every_code_has_an_outcome_and_a_temporary_one_is_never_a_dead_letter(
    stage: Stage, code: int
) -> None:
    texts = ["", "words", *(f"{code // 100}.{x}.{y} words" for x in range(9) for y in (0, 1, 9))]
    outcomes = {classify(stage, code, text) for text in texts}
    assert code >= 500 or not outcomes & {UNDELIVERABLE, REJECTED}


def test_enhanced_code_is_read_from_the_beginning_only() -> None:
    assert enhanced_code("5.4.5 Daily limit") == "5.4.5"
    assert enhanced_code("see 5.4.5") == ""
    assert enhanced_code("1.2.3 no class") == ""
    assert enhanced_code("5.7.10203 no detail") == ""
