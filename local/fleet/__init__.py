"""The platform without Docker: embedded servers, the launcher of the services, test fixtures.

For development and tests on one machine. No production image contains this package.
"""
