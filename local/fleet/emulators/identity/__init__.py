"""A stand-in for Keycloak: its paths, claims and refusals, from the same realm file.

For this machine only: it listens on 127.0.0.1, and passwords lie readable in the realm file. What
it does not do as the real one is listed in local/README.md; ``tests/identity`` holds both to the
same tests.
"""
