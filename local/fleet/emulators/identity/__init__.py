"""An emulator of Keycloak with its paths, claims and error responses, from the same realm file.

For local use only: it listens on 127.0.0.1, and the realm file contains plain passwords.
local/README.md lists the differences; ``tests/identity`` runs the same tests on both.
"""
