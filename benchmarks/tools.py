"""The load tools: wrk measures the saturation rate, vegeta sends at a constant rate.

wrk is a closed loop: each connection waits for its response, so latencies are those of a saturated
server. vegeta is an open loop: a slow response does not delay the next request, so its latencies
need no correction for coordinated omission. It also stores every response.
"""

import base64
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fleet.errors import FleetError
from tests.judge.figures import quantile

_VEGETA = "github.com/tsenart/vegeta/v12@v12.12.0"
_OWN = Path(sys.prefix) / "bin"
_ROUNDS = 3
_WARM_UP = 1.0  # seconds in which connections are opened


@dataclass(frozen=True, slots=True)
class Load:
    """A successful load. Rate in requests per second, latencies in ms."""

    count: int
    rate: float
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Request:
    """A request for vegeta."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""

    def line(self) -> str:
        headers = {name: [value] for name, value in self.headers.items()}
        fields = {"method": self.method, "url": self.url, "header": headers}
        return json.dumps(fields | {"body": base64.b64encode(self.body).decode()})


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; `began` in POSIX seconds, `took` in seconds, status 0 without a response."""

    status: int
    began: float
    took: float
    body: bytes
    error: str


def require_tools() -> None:
    """Check that both tools are installed. Build vegeta if Go is installed."""
    if shutil.which("wrk") is None:
        raise FleetError("wrk is needed and was not found: apt install wrk, or brew install wrk")
    if _vegeta() is not None:
        return
    if shutil.which("go") is None:
        raise FleetError("vegeta is needed and was not found: install it, or Go to build it with")
    print("Building vegeta, once ...", flush=True)
    subprocess.run(["go", "install", _VEGETA], env={**os.environ, "GOBIN": str(_OWN)}, check=True)


def wrk(
    url: str, *, seconds: float, connections: int, headers: Mapping[str, str] | None = None
) -> Load:
    """Send GET requests over `connections`, each as fast as responses arrive.

    Raises:
        FleetError: a response is missing or not 2xx.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--latency"]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    said = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise FleetError(f"{url} did not answer all requests:\n{said}")
    count = int(_found(r"(\d+) requests in", said))
    if not count:
        raise FleetError(f"{url} answered no request within {seconds:g} s")
    return Load(
        count=count,
        rate=float(_found(r"Requests/sec:\s+([\d.]+)", said)),
        p50=_milliseconds(_found(r"\n +50% +(\S+)", said)),
        p95=_milliseconds(_found(r"\n +90% +(\S+)", said)),  # wrk prints no 95th
        p99=_milliseconds(_found(r"\n +99% +(\S+)", said)),
    )


def send_at(requests: Iterable[Request], rate: float, seconds: float) -> list[Answer]:
    """Send `rate` requests per second, independent of the responses."""
    return _vegeta_attack(requests, [f"-rate={round(rate)}/s", f"-duration={seconds:g}s"])


def send_by(requests: Iterable[Request], workers: int, seconds: float) -> list[Answer]:
    """Send requests from `workers`, each as fast as responses arrive."""
    pace = ["-rate=0", f"-workers={workers}", f"-max-workers={workers}"]
    return _vegeta_attack(requests, [*pace, f"-duration={seconds:g}s"])


def p99s(
    direct: str, through: str, headers: Mapping[str, str], rate: float, seconds: float
) -> tuple[float, float]:
    """Measure two URLs in turns; return the median p99 of each. See `p99_at`."""
    rounds = [
        (p99_at(direct, headers, rate, seconds), p99_at(through, headers, rate, seconds))
        for _ in range(_ROUNDS)
    ]
    below, above = zip(*rounds, strict=True)
    return statistics.median(below), statistics.median(above)


def p99_at(url: str, headers: Mapping[str, str], rate: float, seconds: float) -> float:
    """Return the p99 of a GET at that rate in milliseconds, after a warm-up."""
    request = Request("GET", url, headers)
    answers = send_at([request] * int(rate * (seconds + _WARM_UP)), rate, seconds + _WARM_UP)
    warm = min(answer.began for answer in answers) + _WARM_UP
    return load_of([answer for answer in answers if answer.began >= warm]).p99


def load_of(answers: Sequence[Answer], wanted: int = 200) -> Load:
    """Return rate and latencies; raise FleetError if a status differs from `wanted`."""
    bad = [answer for answer in answers if answer.status != wanted]
    if bad or not answers:
        first = f"{bad[0].status} {bad[0].error} {bad[0].body[:300]!r}" if bad else "no answer"
        raise FleetError(f"{len(bad)} of {len(answers)} answers were not {wanted}, such as {first}")
    took = [answer.took * 1000 for answer in answers]
    began = min(answer.began for answer in answers)
    ended = max(answer.began + answer.took for answer in answers)
    p50, p95, p99 = (quantile(took, share) for share in (0.5, 0.95, 0.99))
    return Load(len(answers), len(answers) / (ended - began), p50, p95, p99)


def _vegeta() -> str | None:
    return shutil.which("vegeta") or shutil.which("vegeta", path=str(_OWN))


def _vegeta_attack(requests: Iterable[Request], pace: Sequence[str]) -> list[Answer]:
    vegeta = _vegeta()
    assert vegeta is not None, "require_tools comes first"  # noqa: S101
    targets = "".join(f"{request.line()}\n" for request in requests)
    # -lazy: read the targets while sending, and send none twice.
    attack = [vegeta, "attack", "-format=json", "-lazy", "-timeout=30s", "-keepalive", *pace]
    sent = subprocess.run(attack, input=targets.encode(), capture_output=True, check=False)
    if sent.returncode:
        raise FleetError(f"vegeta failed:\n{sent.stderr.decode()}")
    encode = [vegeta, "encode", "--to=json"]
    told = subprocess.run(encode, input=sent.stdout, capture_output=True, check=True).stdout
    return list(_answers(told))


def _answers(lines: bytes) -> Iterator[Answer]:
    for line in lines.splitlines():
        fields: dict[str, Any] = json.loads(line)
        error = fields["error"]
        if "no targets to attack" in error:  # all targets are used
            continue
        yield Answer(
            status=fields["code"],
            began=datetime.fromisoformat(fields["timestamp"]).timestamp(),
            took=fields["latency"] / 1e9,
            body=base64.b64decode(fields["body"] or ""),
            error=error,
        )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise FleetError(f"unexpected output of wrk:\n{text}")
    return match[1]


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1000.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(text)
