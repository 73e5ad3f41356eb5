"""A mailbox for demos and tests: takes every mail over SMTP, shows it on a page, sends nothing on.

Paths and JSON are Mailpit's, so that the compose stack's Mailpit answers the same questions.
"""
