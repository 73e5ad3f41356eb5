"""Tests of the wait for consumers at the end of `make up`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fleet.errors import NotReady
from fleet.launcher.consumers import await_consumers
from fleet.launcher.service_program import ServiceProgram
from fleet.processes.program import Port

NOT_CONSUMING = {"kafka": {"status": "DOWN", "error": "NotConsuming"}}
CONSUMING = {"kafka": {"status": "UP", "error": None}}


class Scripted(ServiceProgram):
    """A service with scripted readiness responses; the last one repeats."""

    def __init__(self, name: str, *answers: dict[str, Any] | None) -> None:
        super().__init__(name, Port(1), Path(), {}, migrations=False)
        self._answers = list(answers)

    def dependencies(self) -> dict[str, Any]:
        """Return the next response; None stands for a service that does not respond."""
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if answer is None:
            raise NotReady("refused")
        return answer


def test_up_returns_when_consumers_have_joined(capsys: pytest.CaptureFixture[str]) -> None:
    mails = Scripted("notification-service", None, NOT_CONSUMING, CONSUMING)
    await_consumers([mails, Scripted("order-service", {"database": {"status": "UP"}})])
    assert mails.dependencies() == CONSUMING
    assert "All consumers have joined" in capsys.readouterr().out


def test_up_names_consumers_that_have_not_joined_in_time(
    capsys: pytest.CaptureFixture[str],
) -> None:
    late = Scripted("notification-service", NOT_CONSUMING)
    await_consumers([late, Scripted("ai-service", CONSUMING)], timeout=0.1)
    assert capsys.readouterr().out == (
        "Not consuming from Kafka yet: notification-service. See: make status\n"
    )


def test_up_says_nothing_without_consumers(capsys: pytest.CaptureFixture[str]) -> None:
    await_consumers([Scripted("order-service", {"database": {"status": "UP"}})])
    assert capsys.readouterr().out == ""
