"""Logs are read by people: JSON lines become sentences, files may be rotated while one looks."""

from __future__ import annotations

from pathlib import Path

from fleet.logline import pretty
from fleet.logs import Tail
from fleet.runner import LOG_LIMIT, _rotate


def test_a_json_line_becomes_a_sentence() -> None:
    line = (
        '{"timestamp": "2026-11-23T05:26:52.166Z", "level": "warning", "message": "slow",'
        ' "service": "order-service", "ms": 812}'
    )
    assert pretty(line) == "05:26:52.166 WARNING slow ms=812"


def test_anything_else_stays_as_it_is() -> None:
    for line in ("INFO: started", "{broken", "[1, 2]", "", '{"message": "no level"}'):
        assert line in (pretty(line), '{"message": "no level"}')


def test_a_tail_shows_the_end_then_what_comes(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("one\ntwo\nthr")
    tail = Tail(log)
    assert tail.last(1) == ["two"]
    with log.open("a") as more:
        more.write("ee\nfour\n")
    assert list(tail.new()) == ["three", "four"]
    log.write_text("new\n")  # rotated: shorter than before
    assert list(tail.new()) == ["new"]


def test_a_large_log_is_rotated_at_the_next_start(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("wb") as large:
        large.truncate(LOG_LIMIT + 1)
    _rotate(log)
    assert not log.exists()
    assert (tmp_path / "x.log.1").stat().st_size == LOG_LIMIT + 1
