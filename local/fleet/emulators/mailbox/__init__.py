"""A mailbox for demos and tests: an SMTP server that stores mails and shows them on a web page.

Paths and JSON are those of Mailpit, which the compose stack uses.
"""
