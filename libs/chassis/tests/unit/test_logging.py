"""The JSON log format, and the rate limit of OpenTelemetry's log records."""

import json
import logging
import sys

import pytest

from chassis.observability import logging as chassis_logging
from chassis.observability.logging import JsonFormatter, RateLimit


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    return logging.getLogger("app.things").makeRecord(
        "app.things", logging.INFO, "things.py", 1, message, arguments, None, extra=extra
    )


def line(made: logging.LogRecord) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(JsonFormatter("things").format(made))
    return parsed


def test_line_has_the_message_and_the_extra_fields_only() -> None:
    found = line(record("counted %d of %s", 3, "them", group="a"))
    del found["timestamp"]
    assert found == {
        "level": "INFO",
        "service": "things",
        "logger": "app.things",
        "message": "counted 3 of them",
        "group": "a",
    }


def test_exception_is_in_its_line() -> None:
    made = record("unexpected")
    try:
        raise ValueError("broken")
    except ValueError:
        made.exc_info = sys.exc_info()
    assert "ValueError: broken" in str(line(made)["exception"])


@pytest.mark.parametrize("value", ["half a pair: \ud800", float("nan"), object(), b"\xff", {1: 2}])
def test_line_is_written_for_any_value_of_a_field(value: object) -> None:
    assert "value" in line(record("odd", value=value))


def test_limited_logger_writes_one_record_per_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000.0
    monkeypatch.setattr(chassis_logging.time, "monotonic", lambda: now)
    limit = RateLimit("opentelemetry")

    def passes(name: str) -> bool:
        made = logging.LogRecord(name, logging.ERROR, "", 0, "failed", (), None)
        return bool(limit.filter(made))

    names = ["opentelemetry.exporter", "opentelemetry.sdk", "opentelemetry.exporter", "app.things"]
    assert [passes(name) for name in names] == [True, False, False, True]
    now += 59.9
    assert not passes("opentelemetry.exporter")
    now += 0.2
    assert passes("opentelemetry.exporter")
