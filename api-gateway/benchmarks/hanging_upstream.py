"""Promise 37: what one service that hangs for 30 seconds costs the callers of another.

    venv/bin/python -m benchmarks.hanging_upstream [rounds]

Rounds of five seconds, in turns: the catalogue alone, and the catalogue while order-service takes
every request and never answers. 200 callers then wait for orders, and four others read the
catalogue at a fixed pace as before.
"""

import asyncio
import sys
import time

import aiohttp
from tests.fakes import FakeProvider, FakeUpstream, hang
from tests.gateways import Gateway, gateway_process

from fleet.processes.ports import free_port

SECONDS = 5.0
READERS, PACE = 4, 0.01
WAITING = 200


async def read(gateway: Gateway, until: float, took: list[float]) -> None:
    async with aiohttp.ClientSession() as session:
        while time.monotonic() < until:
            began = time.perf_counter()
            async with session.get(f"{gateway.url}/api/products") as response:
                await response.read()
                response.raise_for_status()
            took.append(time.perf_counter() - began)
            await asyncio.sleep(PACE)


async def wait_for_orders(gateway: Gateway, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.request("GET", f"{gateway.url}/api/orders/1", headers=headers) as response:
        raise RuntimeError(f"it did not hang: {response.status}")


async def measure(gateway: Gateway, token: str, rounds: int) -> None:
    alone: list[float] = []
    beside: list[float] = []
    await read(gateway, time.monotonic() + 1, [])
    for number in range(2 * rounds):
        waiting = [
            asyncio.create_task(wait_for_orders(gateway, token))
            for _ in range(WAITING if number % 2 else 0)
        ]
        await asyncio.sleep(0.5)  # until they are all there
        took = beside if number % 2 else alone
        end = time.monotonic() + SECONDS
        await asyncio.gather(*(read(gateway, end, took) for _ in range(READERS)))
        if any(task.done() for task in waiting):
            raise RuntimeError("a call that should hang has ended")
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    for name, figures in (("alone", alone), ("beside", beside)):
        print(f"{name:<7} {_row(figures)}")
    p50, p99 = (_percentile(beside, p) / _percentile(alone, p) - 1 for p in (50, 99))
    print(f"more    p50 {p50:+.1%}   p99 {p99:+.1%}")


def _percentile(figures: list[float], percent: int) -> float:
    return sorted(figures)[len(figures) * percent // 100]


def _row(figures: list[float]) -> str:
    p50, p99 = (_percentile(figures, p) * 1000 for p in (50, 99))
    return f"{len(figures):>6} requests   p50 {p50:6.2f} ms   p99 {p99:6.2f} ms"


def main(rounds: int) -> None:
    with (
        FakeProvider().serve() as provider,
        FakeUpstream().serve() as well,
        FakeUpstream().serve() as stuck,
    ):
        stuck.script = hang
        environment = {
            "PRODUCT_SERVICE_URL": well.url,
            "ORDER_SERVICE_URL": stuck.url,
            "OIDC_JWKS_URL": provider.jwks_url,
            "RATE_LIMIT_DEFAULT": "1000000000/minute",
            "UPSTREAM_TIMEOUT": "60",
            "LOG_LEVEL": "ERROR",
        }
        with gateway_process(free_port(), **environment) as (gateway, _):
            asyncio.run(measure(gateway, provider.token(), rounds))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
