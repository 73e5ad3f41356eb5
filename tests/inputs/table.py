"""All reported inputs that the fleet can show over HTTP."""

from tests.inputs import bodies, catalogue, http, mails, orders

ROWS = [*bodies.ROWS, *catalogue.ROWS, *http.ROWS, *orders.ROWS, *mails.ROWS]
