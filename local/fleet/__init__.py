"""The fleet without Docker: embedded servers, the services' launcher and the tests' fixtures.

Everything here serves development on one machine; no production image contains it.
"""
