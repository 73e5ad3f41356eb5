"""All reported inputs that the fleet can show over HTTP."""

from tests.inputs import assistant, bodies, catalogue, http, mails, orders

ROWS = [
    *bodies.ROWS,
    *catalogue.ROWS,
    *http.ROWS,
    *orders.ROWS,
    *assistant.ROWS,
    *mails.ROWS,
]
