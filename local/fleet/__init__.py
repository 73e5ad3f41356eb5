"""The platform without Docker: embedded servers, the launcher of the services, test fixtures.

Everything here serves development on one machine; no production image contains it.
"""
