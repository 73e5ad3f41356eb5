"""`make dev` with a service and the gateway; `local/tests/test_dev.py` tests its failures."""

import os
import signal
from pathlib import Path

import pytest

from fleet.processes.runner import wait_until
from tests.fleet_under_test import GATEWAY, ROOT, Fleet

pytestmark = pytest.mark.local


@pytest.mark.parametrize("service", ["order-service", GATEWAY])
def test_make_dev_restarts_service_on_change_and_keeps_it_after_ctrl_c(
    fleet: Fleet, service: str, tmp_path: Path
) -> None:
    shown = tmp_path / "terminal"

    def answered(times: int) -> bool:
        printed = shown.read_text("utf-8")
        return printed.count(f"{service} is ready on {fleet.url(service)}") == times

    with shown.open("wb") as output, fleet.start("dev", service, output=output) as process:
        try:
            assert wait_until(lambda: answered(1), 60), shown.read_text("utf-8")
            os.utime(ROOT / service / "app" / "main.py")  # counts as a change
            assert wait_until(lambda: answered(2), 60), shown.read_text("utf-8")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()
    printed = shown.read_text("utf-8")
    assert f"{service}/app/main.py changed" in printed
    assert f"{service} keeps running" in printed
    assert service in fleet("status")
