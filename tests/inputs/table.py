"""All reported inputs that the fleet can show over HTTP."""

from tests.inputs import catalogue, http, mails

ROWS = [*catalogue.ROWS, *http.ROWS, *mails.ROWS]
