"""Compatibility rules for APIs and events: which changes break a caller or a consumer.

``checks.contracts`` is the command; docs/adr/0010 gives the reasons and the baseline.
"""
