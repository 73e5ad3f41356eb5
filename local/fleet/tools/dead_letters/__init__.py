"""``make dlq``: list, show, replay and drop dead letters.

Services write dead letters to ``<topic>.dlq`` (``chassis.kafka.dead_letters``). The outcome of each
dead letter is stored on the topic ``dead-letters-done`` (``outcomes.py``).
"""
