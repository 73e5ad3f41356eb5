"""`make logs`: formatting of JSON lines, search by trace id, rotation while reading."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fleet.errors import FleetError
from fleet.launcher.composition import Leftover, Part
from fleet.processes.log_format import pretty
from fleet.processes.runner import LOG_LIMIT, Runner, _rotate
from fleet.tools.logs import Tail, show_matching


def test_json_line_is_formatted() -> None:
    line = (
        '{"timestamp": "2026-11-23T05:26:52.166Z", "level": "warning", "message": "slow",'
        ' "service": "order-service", "ms": 812}'
    )
    assert pretty(line) == "05:26:52.166 WARNING slow ms=812"


def test_other_lines_are_unchanged() -> None:
    for line in ("INFO: started", "{broken", "[1, 2]", "", '{"message": "no level"}'):
        assert line in (pretty(line), '{"message": "no level"}')


def test_lines_of_a_trace_are_found_in_all_logs_in_order_of_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = []
    for name, clock in (("order-service", "12:00:02"), ("api-gateway", "12:00:01")):
        part = Part(Runner(Leftover(name, []), tmp_path), (), is_service=True)
        part.runner.log.parent.mkdir(exist_ok=True)
        lines = [
            {"timestamp": f"2026-11-23T{clock}Z", "level": "info", "message": m, "trace_id": t}
            for m, t in ((f"wanted of {name}", "ab" * 16), ("another", "cd" * 16))
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        part.runner.log.write_text(text + "no JSON\n")
        parts.append(part)
    rotated = {"timestamp": "2026-11-23T12:00:00Z", "message": "rotated", "trace_id": "ab" * 16}
    parts[0].runner.log.with_suffix(".log.1").write_text(json.dumps(rotated) + "\n")
    show_matching(parts, "ab" * 16)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 3
    assert shown[0].startswith("order-service")
    assert "rotated" in shown[0]
    assert "wanted of api-gateway" in shown[1]
    assert "wanted of order-service" in shown[2]
    with pytest.raises(FleetError, match="No log line contains"):
        show_matching(parts, "ef" * 16)


def test_tail_returns_last_lines_then_new_lines(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("one\ntwo\nthr")
    tail = Tail(log)
    assert tail.last(1) == ["two"]
    with log.open("a") as more:
        more.write("ee\nfour\n")
    assert list(tail.new()) == ["three", "four"]
    log.write_text("new\n")  # rotated: shorter than before
    assert list(tail.new()) == ["new"]


def test_large_log_is_rotated_at_next_start(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with log.open("wb") as large:
        large.truncate(LOG_LIMIT + 1)
    _rotate(log)
    assert not log.exists()
    assert (tmp_path / "x.log.1").stat().st_size == LOG_LIMIT + 1
