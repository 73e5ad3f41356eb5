"""Spans: who is whose parent, what is recorded and what is not."""

import pytest

from chassis.observability.tracing import (
    Kind,
    Span,
    carrying,
    continue_trace,
    continued_span,
    current_trace,
    draw,
    is_recording,
    parse_traceparent,
    record_to,
    span,
    traceparent,
)

RECORDED = f"00-{'ab' * 16}-{'cd' * 8}-03"
UNRECORDED = f"00-{'ab' * 16}-{'cd' * 8}-00"


def test_what_goes_out_within_a_span_has_it_as_parent(spans: list[Span]) -> None:
    with continued_span(RECORDED, "outer", Kind.CONSUMER, {"topic": "t"}) as outer:
        with span("inner", Kind.CLIENT) as inner:
            inner.note("status", 200)
            sent = parse_traceparent(traceparent())
        outer.note("outcome", "processed")
        after = current_trace()
    first, second = spans
    assert (first.name, first.kind, first.attributes) == ("inner", Kind.CLIENT, {"status": 200})
    assert (second.name, second.kind) == ("outer", Kind.CONSUMER)
    assert second.attributes == {"topic": "t", "outcome": "processed"}
    assert sent is not None
    assert sent.span_id == first.context.span_id
    assert first.context.parent_id == second.context.span_id
    assert second.context.parent_id == "cd" * 8
    assert first.context.trace_id == second.context.trace_id == "ab" * 16
    assert after == second.context  # what was current before the inner one is current again
    assert second.started <= first.started <= first.ended <= second.ended


def test_a_trace_that_is_not_recorded_makes_no_span_at_all(spans: list[Span]) -> None:
    with continue_trace(UNRECORDED) as trace:
        work = span("inner", Kind.CLIENT)
        with work as entered:
            entered.note("status", 200)
            assert traceparent() == trace.traceparent()
        assert work is span("another")  # one object for all that is not recorded
        assert not is_recording()
    assert traceparent() is None
    assert spans == []


def test_without_a_sink_the_context_goes_on_and_others_may_record_it() -> None:
    with continue_trace(None) as trace, span("inner"):
        assert trace.recorded
        assert traceparent() == trace.traceparent()
        assert not is_recording()


def test_outside_a_trace_nothing_is_recorded(spans: list[Span]) -> None:
    with span("of a loop in the background"):
        assert traceparent() is None
    assert spans == []


def test_the_ratio_decides_where_a_trace_begins_and_the_parents_word_elsewhere(
    spans: list[Span],
) -> None:
    record_to(spans.append, ratio=0.0)
    with continue_trace(None) as begun, continue_trace(RECORDED) as continued:
        assert not begun.recorded
        assert continued.recorded
    record_to(spans.append, ratio=1.0)
    with continue_trace(None) as begun, continue_trace(UNRECORDED) as continued:
        assert begun.recorded
        assert not continued.recorded
    record_to(spans.append, ratio=0.25)
    assert 0.2 < sum(draw() for _ in range(10_000)) / 10_000 < 0.3


def test_an_error_passes_and_leaves_its_class_but_not_its_words(spans: list[Span]) -> None:
    with pytest.raises(ValueError, match="alice"), continue_trace(RECORDED), span("work"):
        raise ValueError("alice@example.com")
    assert spans[0].error == "ValueError"
    assert "alice" not in repr(spans)


def test_work_for_another_process_hangs_below_its_span(spans: list[Span]) -> None:
    with continue_trace(None) as own:
        with carrying(RECORDED), span("send", Kind.PRODUCER):
            pass
        with carrying(None):
            assert traceparent() is None
        assert current_trace() == own
    assert spans[0].context.parent_id == "cd" * 8
