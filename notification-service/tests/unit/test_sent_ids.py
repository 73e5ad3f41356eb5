"""The bounded memory of what was mailed."""

import time
from uuid import uuid4

from app.kafka.delivery_log import SentIds


def test_it_knows_what_it_was_told() -> None:
    ids, event_id = SentIds(10, 60), uuid4()
    assert event_id not in ids
    ids.add(event_id, time.time())
    assert event_id in ids


def test_it_forgets_the_oldest_when_it_is_full() -> None:
    ids, events = SentIds(3, 60), [uuid4() for _ in range(5)]
    for event_id in events:
        ids.add(event_id, time.time())
    assert [event_id in ids for event_id in events] == [False, False, True, True, True]


def test_it_forgets_what_is_older_than_the_topic_keeps() -> None:
    ids, old, new = SentIds(10, 60), uuid4(), uuid4()
    ids.add(old, time.time() - 59.9)
    assert old in ids
    ids.add(uuid4(), time.time() - 61)
    assert len(ids) == 1, "what is too old is not even taken"
    ids._times[old.bytes] -= 1
    ids.add(new, time.time())
    assert (old in ids, new in ids) == (False, True)


def test_a_repeat_does_not_grow_it() -> None:
    ids, event_id = SentIds(10, 60), uuid4()
    for _ in range(100):
        ids.add(event_id, time.time())
    assert len(ids) == 1
