"""Data, keys, events and requests of a released version under the code of today. Promise 65.

`golden/<version>/` contains the recording of a release, written by `python -m tests.upgrade.record`
and never edited. `stores.py` reads and writes it; `test_upgrade.py` starts today's services on it.
"""
