"""Support for tests: fixtures with real servers, signed and forged tokens, a faulty TCP proxy."""
