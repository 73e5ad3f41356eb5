"""All reported inputs that the fleet can show over HTTP."""

from tests.inputs import catalogue

ROWS = [*catalogue.ROWS]
