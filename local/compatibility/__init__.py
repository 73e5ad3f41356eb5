"""What of an API or an event may change without anybody noticing, and what would break somebody.

``local/contracts.py`` is the command; docs/adr/0010 says why it is ours and what the baseline is.
"""
