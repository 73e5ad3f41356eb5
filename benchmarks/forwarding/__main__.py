"""What the gateway costs: direct, this gateway with a token and limits on, and two forwarders.

    .venv/bin/python benchmarks/forwarding [--rounds 3] [--seconds 5] [--connections 32]

Needs `wrk`. All four run at once and are asked in turns, so that what else the machine does hits
them alike; the medians of the rounds count. CPU is that of the process asked, as the kernel counts
it. Ends with 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from fleet.identity_client import IdentityProvider
from fleet.ports import free_port
from fleet.program import Port
from fleet.servers.identity import IdentityServer
from fleet.workshop import Workshop

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
GATEWAY = ROOT / "api-gateway"
UVICORN = ("-m", "uvicorn", "--http", "httptools", "--loop", "uvloop", "--no-access-log")
TARGET = "/api/products?page=1"
MOST_CPU, LEAST_GAIN = 2.0, 4.0


@dataclass(frozen=True)
class Round:
    """One run of wrk: requests a second, CPU microseconds a request, latencies in milliseconds."""

    rate: float
    cpu: float
    p50: float
    p99: float


class Subject:
    """One server that is measured."""

    def __init__(self, name: str, port: int, process: psutil.Process) -> None:
        self.name = name
        self.url = f"http://127.0.0.1:{port}{TARGET}"
        self.process = process
        self.rounds: list[Round] = []

    def measure(self, token: str, seconds: int, connections: int) -> None:
        before = sum(self.process.cpu_times()[:2])
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
        command += ["-H", f"Authorization: Bearer {token}", self.url]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        cpu = sum(self.process.cpu_times()[:2]) - before
        if "Non-2xx" in said or "Socket errors" in said:
            sys.exit(f"{self.name} did not answer all requests:\n{said}")
        count = int(_found(r"(\d+) requests in", said))
        self.rounds.append(
            Round(
                rate=float(_found(r"Requests/sec:\s+([\d.]+)", said)),
                cpu=cpu / count * 1e6,
                p50=_milliseconds(_found(r"\n +50% +(\S+)", said)),
                p99=_milliseconds(_found(r"\n +99% +(\S+)", said)),
            )
        )

    def median(self, what: str) -> float:
        return float(statistics.median(getattr(one, what) for one in self.rounds))


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        sys.exit(f"wrk said something else than expected:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(text)


@contextmanager
def served(
    name: str, command: list[str], port: int, folder: Path, log: Path, **env: str
) -> Iterator[Subject]:
    """A server on its port, from its first answer to the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **env}, stdout=output, stderr=output
        )
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, log)
        yield Subject(name, port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(timeout=15)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            sys.exit(f"{' '.join(map(str, process.args))} ended:\n{log.read_text()}")  # type: ignore[arg-type]
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"{url} does not answer")


def httpx_python(folder: Path) -> str:
    """An environment of its own for the comparison: the project itself has left httpx behind."""
    uv, venv = str(ROOT / ".venv/bin/uv"), folder / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    python = str(venv / "bin/python")
    requirements = str(HERE / "requirements.txt")
    command = [uv, "pip", "install", "--quiet", "--python", python, "-r", requirements]
    subprocess.run(command, check=True)
    return python


def subjects(stack: ExitStack, workshop: Workshop, provider: IdentityProvider) -> list[Subject]:
    """The four, running."""
    python = str(GATEWAY / "venv/bin/python")
    logs = workshop.folder
    ports = [free_port() for _ in range(4)]
    upstream = {"UPSTREAM": f"http://127.0.0.1:{ports[0]}"}

    def start(name: str, number: int, command: list[str], folder: Path, **env: str) -> Subject:
        log = logs / f"{number}.log"
        return stack.enter_context(served(name, command, ports[number], folder, log, **env))

    def app(number: int, python: str, module: str) -> list[str]:
        return [python, *UVICORN, "--port", str(ports[number]), f"{module}:app"]

    return [
        start("direct", 0, app(0, python, "upstream"), HERE),
        start("bare aiohttp", 1, app(1, python, "bare_aiohttp"), HERE, **upstream),
        start("plain httpx", 2, app(2, httpx_python(logs), "plain_httpx"), HERE, **upstream),
        start(
            "api-gateway",
            3,
            [python, "-m", "app", "--port", str(ports[3])],
            GATEWAY,
            PRODUCT_SERVICE_URL=upstream["UPSTREAM"],
            OIDC_ISSUER=provider.issuer,
            OIDC_JWKS_URL=provider.jwks_url,
            RATE_LIMIT_DEFAULT="1000000000/minute",
            PYTHONUNBUFFERED="1",
        ),
    ]


def show(found: list[Subject]) -> bool:
    """The table and the verdict; whether both goals are met."""
    print(f"{'':14}{'requests/s':>12}{'CPU us':>9}{'p50 ms':>9}{'p99 ms':>9}")
    for one in found:
        numbers = (one.median(what) for what in ("rate", "cpu", "p50", "p99"))
        print(f"{one.name:14}{next(numbers):12.0f}{next(numbers):9.0f}", end="")
        print("".join(f"{number:9.2f}" for number in numbers))
    by_name = {one.name: one for one in found}
    gateway = by_name["api-gateway"]
    cost = gateway.median("cpu") / by_name["bare aiohttp"].median("cpu")
    gain = gateway.median("rate") / by_name["plain httpx"].median("rate")
    verdicts = {
        f"CPU {cost:.2f} times the bare forwarder's (at most {MOST_CPU:.0f})": cost <= MOST_CPU,
        f"{gain:.1f} times the httpx proxy's requests (at least {LEAST_GAIN:.0f})": gain
        >= LEAST_GAIN,
    }
    for text, good in verdicts.items():
        print(f"{'ok  ' if good else 'MISS'} {text}")
    return all(verdicts.values())


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/forwarding", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="for each subject and round")
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed and was not found: apt install wrk, or brew install wrk")
    workshop = Workshop()
    with ExitStack() as stack:
        stack.callback(workshop.remove)
        runner = workshop.open(IdentityServer(workshop.folder, Port(free_port())))
        stack.callback(runner.kill)
        provider = IdentityProvider(runner.program.url, runner)
        found = subjects(stack, workshop, provider)
        for number in range(options.rounds + 1):  # the first one warms up
            for one in found:
                one.measure(provider.token("alice"), options.seconds, options.connections)
                if number == 0:
                    one.rounds.clear()
            print(f"round {number} of {options.rounds}" if number else "warm", flush=True)
        return 0 if show(found) else 1


if __name__ == "__main__":
    sys.exit(main())
