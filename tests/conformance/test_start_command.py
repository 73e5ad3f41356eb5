"""Each service starts with uvicorn's usual command: `python -m uvicorn app.main:app`."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from fleet.processes.ports import free_port
from tests.fleet_under_test import ROOT, SERVICES, until

IMPORT_PROBE = """
import sys, threading
connections = []
sys.addaudithook(lambda event, args: connections.append(args) if event == "socket.connect" else 0)
import app.main
assert callable(app.main.app)
assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
assert not connections, connections
"""

each_service = pytest.mark.parametrize("service", SERVICES)


def bare_environment(**settings: str) -> dict[str, str]:
    """An environment without any setting of a service."""
    return {"PATH": os.environ["PATH"], **settings}


def run_python(
    service: str, code: str, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run code with the service's own interpreter, in its folder."""
    folder = ROOT / service
    return subprocess.run(
        [folder / "venv" / "bin" / "python", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@contextmanager
def served(service: str, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the service with no setting at all; stop it afterwards."""
    folder = ROOT / service
    command = ["-m", "uvicorn", "app.main:app", "--port", str(port), "--loop", "asyncio"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [folder / "venv" / "bin" / "python", *command],
            cwd=folder,
            env=bare_environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise


@each_service
async def test_service_starts_with_uvicorn_and_app_name(service: str, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    async with httpx2.AsyncClient(trust_env=False) as client:
        with served(service, port, log) as process:

            async def healthy() -> bool:
                assert process.poll() is None, log.read_text()
                try:
                    answer = await client.get(f"http://127.0.0.1:{port}/health")
                except httpx2.TransportError:
                    return False
                return bool(answer.json() == answer.json() | {"status": "UP", "service": service})

            await until(healthy, 60, f"{service} answers /health")
        assert process.returncode in (0, -15), log.read_text()


@each_service
def test_import_of_main_needs_no_setting_connection_or_thread(service: str) -> None:
    done = run_python(service, IMPORT_PROBE, bare_environment())
    assert done.returncode == 0, done.stderr


@each_service
def test_invalid_setting_names_the_variable_without_its_value(service: str) -> None:
    done = run_python(service, "import app.main", bare_environment(LOG_LEVEL="canary-of-test"))
    assert done.returncode == 1
    assert done.stderr.startswith("LOG_LEVEL: ")
    assert "Traceback" not in done.stderr
    assert "canary-of-test" not in done.stderr
