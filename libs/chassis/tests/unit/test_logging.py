"""One line of JSON for each record, and records that other formatters can read as well."""

import json
import logging
import sys

import pytest

from chassis.observability.logging import JsonFormatter, LeanRecord


def record(message: object, *arguments: object, **extra: object) -> logging.LogRecord:
    made = LeanRecord("app.things", logging.INFO, "", 0, message, arguments, None)
    made.__dict__.update(extra)
    return made


def line(made: logging.LogRecord) -> dict[str, object]:
    parsed: dict[str, object] = json.loads(JsonFormatter("things").format(made))
    return parsed


def test_a_line_holds_the_message_its_extra_fields_and_nothing_of_the_machinery() -> None:
    found = line(record("counted %d of %s", 3, "them", group="a"))
    del found["timestamp"]
    assert found == {
        "level": "INFO",
        "service": "things",
        "logger": "app.things",
        "message": "counted 3 of them",
        "group": "a",
    }


def test_arguments_by_name_are_filled_in() -> None:
    assert line(record("%(n)s things", {"n": 4}))["message"] == "4 things"


def test_an_exception_is_in_its_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        made = LeanRecord("app", logging.ERROR, "", 0, "unexpected", (), sys.exc_info())
    assert "ValueError: broken" in str(line(made)["exception"])


@pytest.mark.parametrize("value", ["half a pair: \ud800", float("nan"), object(), b"\xff", {1: 2}])
def test_no_value_keeps_a_line_from_being_written(value: object) -> None:
    assert "value" in line(record("odd", value=value))


def test_another_formatter_finds_the_attributes_that_it_knows() -> None:
    usual = (
        "%(asctime)s %(filename)s:%(lineno)d %(process)s %(threadName)s %(levelname)s %(message)s"
    )
    assert logging.Formatter(usual).format(record("hello")).endswith("INFO hello")
