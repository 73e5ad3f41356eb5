"""CPU and rate of the gateway, compared with a minimal forwarder, a plain httpx proxy and nginx.

All servers run at the same time with the same upstream and are measured in turns, so that other
load on the machine affects them equally. The figures are medians of the rounds.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks import baselines
from benchmarks.figure import Figure, Measured
from benchmarks.tools import Load, p99s, wrk
from fleet.clients.identity import IdentityProvider
from fleet.errors import FleetError
from fleet.processes.ports import free_port
from fleet.processes.program import Port
from fleet.servers.identity import IdentityServer
from fleet.servers.traces import TracesServer
from fleet.testing.temporary_servers import TemporaryServers
from tests.fleet_under_test import ROOT

_BASELINES = Path(baselines.__file__).parent
_GATEWAY = ROOT / "api-gateway"
_UVICORN = ("-m", "uvicorn", "--http", "httptools", "--loop", "uvloop", "--no-access-log")
_TARGET = "/api/products?page=1"
_ROUNDS, _CONNECTIONS = 3, 32
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream service {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://service; proxy_http_version 1.1;
                  proxy_set_header Connection ""; }}
  }}
}}
"""


@dataclass(slots=True)
class Subject:
    """One measured server; `cpu` is in µs per request, of all its processes."""

    name: str
    port: int
    process: psutil.Process
    loads: list[Load] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def ask(self, token: str, seconds: float) -> None:
        before = self._cpu()
        headers = _bearer(token)
        load = wrk(self.url, seconds=seconds, connections=_CONNECTIONS, headers=headers)
        self.cpu.append((self._cpu() - before) / load.count * 1e6)
        self.loads.append(load)

    def forget(self) -> None:
        self.cpu.clear()
        self.loads.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{_TARGET}"

    @property
    def rate(self) -> float:
        return statistics.median(load.rate for load in self.loads)

    @property
    def cost(self) -> float:
        return statistics.median(self.cpu)

    def _cpu(self) -> float:
        family = [self.process, *self.process.children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in family)


def forwarding(seconds: float) -> Measured:
    """Measure the gateway with token, limits, metrics and tracing, and forwarders without."""
    servers = TemporaryServers()
    with ExitStack() as stack:
        stack.callback(servers.remove)
        runner = servers.start(IdentityServer(servers.folder, Port(free_port())))
        stack.callback(runner.kill)
        traces = servers.start(TracesServer(servers.folder, Port(free_port())))
        stack.callback(traces.kill)
        provider = IdentityProvider(runner.program.url, runner)
        found = _subjects(stack, servers.folder, provider, traces.program.url)
        for number in range(_ROUNDS + 1):
            for one in found:
                one.ask(provider.token("alice"), seconds if number else 1.0)
                if not number:
                    one.forget()  # the first round is the warm-up
        by_name = {one.name: one for one in found}
        added = _added_latency(by_name, provider.token("alice"), seconds)
        return Measured.of([*_figures(by_name), *added])


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _added_latency(by_name: Mapping[str, Subject], token: str, seconds: float) -> Iterator[Figure]:
    """Measure by how much the gateway raises the p99 at half of its saturation rate."""
    upstream, gateway, rate = by_name["bare JSON"], by_name["gateway"], by_name["gateway"].rate / 2
    direct, through = p99s(upstream.url, gateway.url, _bearer(token), rate, seconds)
    yield Figure("forwarding", "half of the gateway's saturation rate", rate, "/s")
    yield Figure("forwarding", "p99 direct, at that rate", direct, "ms")
    yield Figure("forwarding", "p99 through the gateway", through, "ms")
    yield Figure("forwarding", "p99 added by the gateway", through - direct, "ms")


def _figures(by_name: Mapping[str, Subject]) -> Iterator[Figure]:
    gateway, bare = by_name["gateway"], by_name["bare aiohttp"]
    for one in by_name.values():
        yield Figure("forwarding", f"{one.name}, rate", one.rate, "/s")
        yield Figure("forwarding", f"{one.name}, CPU per request", one.cost, "µs")
    cost, gain = gateway.cost / bare.cost, gateway.rate / by_name["plain httpx"].rate
    yield Figure("forwarding", "gateway against bare aiohttp, CPU per request", cost, "x")
    yield Figure("forwarding", "gateway against plain httpx, rate", gain, "x")


def _subjects(
    stack: ExitStack, folder: Path, provider: IdentityProvider, traces: str
) -> list[Subject]:
    names = ["bare JSON", "bare aiohttp", "plain httpx", "gateway", "nginx"]
    ports = {name: free_port() for name in names}
    gateway_python = str(_GATEWAY / "venv/bin/python")
    upstream = {"UPSTREAM": f"http://127.0.0.1:{ports['bare JSON']}"}

    def start(name: str, command: list[str], where: Path, **env: str) -> Subject:
        log = folder / f"{name}.log"
        return stack.enter_context(_served(name, command, ports[name], where, log, **env))

    def app(name: str, python: str, module: str) -> list[str]:
        return [python, *_UVICORN, "--port", str(ports[name]), f"{module}:app"]

    httpx = _httpx_python(folder)
    found = [
        start("bare JSON", app("bare JSON", gateway_python, "bare_json"), _BASELINES),
        start(
            "bare aiohttp",
            app("bare aiohttp", gateway_python, "bare_aiohttp"),
            _BASELINES,
            **upstream,
        ),
        start("plain httpx", app("plain httpx", httpx, "plain_httpx"), _BASELINES, **upstream),
        start(
            "gateway",
            [gateway_python, "-m", "app", "--port", str(ports["gateway"])],
            _GATEWAY,
            PRODUCT_SERVICE_URL=upstream["UPSTREAM"],
            OIDC_ISSUER=provider.issuer,
            OIDC_JWKS_URL=provider.jwks_url,
            RATE_LIMIT_DEFAULT="1000000000/minute",
            OTEL_EXPORTER_OTLP_ENDPOINT=traces,
            PYTHONUNBUFFERED="1",
        ),
    ]
    if (nginx := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")) is not None:
        file = folder / "nginx.conf"
        file.write_text(
            _NGINX.format(folder=folder, port=ports["nginx"], upstream=ports["bare JSON"])
        )
        found.append(start("nginx", [nginx, "-c", str(file)], folder))
    return found


@contextmanager
def _served(
    name: str, command: list[str], port: int, folder: Path, log: Path, **env: str
) -> Iterator[Subject]:
    """Start a server, wait until it answers, and stop it at the end of the block."""
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
            raise FleetError(f"{log.stem} ended:\n{log.read_text()}")
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise FleetError(f"{url} does not answer")


def _httpx_python(folder: Path) -> str:
    """Create an environment for the httpx proxy, because the project does not depend on httpx."""
    uv, venv = str(ROOT / ".venv/bin/uv"), folder / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(venv)], check=True)
    python, requirements = str(venv / "bin/python"), str(_BASELINES / "plain_httpx.txt")
    command = [uv, "pip", "install", "--quiet", "--python", python, "-r", requirements]
    subprocess.run(command, check=True)
    return python
