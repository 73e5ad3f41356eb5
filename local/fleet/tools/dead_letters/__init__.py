"""What to do with dead letters: list, show, replay to one consumer group, drop (``make dlq``).

A service writes them (``chassis.kafka.dead_letters``) to ``<topic>.dlq``; what was done with each
is remembered on a topic of its own (``done.py``), so that nothing is replayed twice by mistake.
"""
