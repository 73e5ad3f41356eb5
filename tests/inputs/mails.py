"""Reported inputs: mail servers that refuse for a time, and one customer's refused mails."""

from tests.inputs.bodies import order_of, stock
from tests.inputs.steps import ORDER, Case, Confirmed, MailServer, Refused, Request

ALICE, BOB = "alice-{unique}@example.com", "bob-{unique}@example.com"
MARKER = "REFUSE-THIS"


def orders(count: int, email: str, name: str = "A") -> Request:
    """Return the request for some orders of one customer, all at once."""
    body = order_of("p-{unique}", 1, customer_email=email, customer_name=name)
    return Request("POST", "/api/orders", 201, body, at=ORDER, times=count)


ROWS = [
    Case(
        "E1",
        "a mail server that refuses a new recipient for a time",
        [
            stock(100),
            MailServer([{"preset": "greylisting", "greylist_seconds": 5.0}]),
            orders(3, ALICE),
            Refused(3),
            Confirmed(ALICE, 3),
        ],
        local=True,
    ),
    Case(
        "E2",
        "a mail server whose daily quota is used up",
        [
            stock(100),
            MailServer([{"preset": "quota", "duration_seconds": 10.0}]),
            *[orders(4, ALICE)] * 5,
            Refused(1),
            Confirmed(ALICE, 20),
        ],
        local=True,
    ),
    Case(
        "E3",
        "a mail server that throttles",
        [
            stock(100),
            MailServer([{"preset": "throttling", "duration_seconds": 10.0}]),
            orders(5, ALICE),
            Refused(1),
            Confirmed(ALICE, 5),
        ],
        local=True,
    ),
    Case(
        "E4",
        "a customer whose name makes the mail server refuse every mail",
        [
            stock(100),
            MailServer([{"preset": "content-refused", "marker": MARKER}]),
            *[orders(3, BOB, f"Bob {MARKER}")] * 7,
            Refused(1),
            orders(1, ALICE),
            Confirmed(ALICE, 1, seconds=30.0),
        ],
        local=True,
    ),
]
