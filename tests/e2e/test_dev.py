"""`make dev`, with real services of both kinds: `local/tests/test_dev.py` has what can go wrong."""

import os
import signal
from pathlib import Path

import pytest

from fleet.processes.runner import wait_until
from tests.fleet_under_test import GATEWAY, ROOT, Fleet

pytestmark = pytest.mark.local


@pytest.mark.parametrize("service", ["order-service", GATEWAY])
def test_a_service_starts_anew_when_its_code_changes_and_goes_on_after_ctrl_c(
    fleet: Fleet, service: str, tmp_path: Path
) -> None:
    shown = tmp_path / "terminal"

    def answered(times: int) -> bool:
        said = shown.read_text("utf-8")
        return said.count(f"{service} is ready on {fleet.url(service)}") == times

    with shown.open("wb") as output, fleet.start("dev", service, output=output) as process:
        try:
            assert wait_until(lambda: answered(1), 60), shown.read_text("utf-8")
            os.utime(ROOT / service / "app" / "main.py")  # changed as far as anybody can see
            assert wait_until(lambda: answered(2), 60), shown.read_text("utf-8")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    said = shown.read_text("utf-8")
    assert f"{service}/app/main.py changed" in said
    assert f"{service} keeps running" in said
    assert service in fleet("status")
