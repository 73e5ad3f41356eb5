"""What of an API or an event may change without anybody noticing, and what would break somebody.

``checks.contracts`` is the command; docs/adr/0010 gives the reasons and the baseline.
"""
