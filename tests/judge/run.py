"""One run of the judge: load with faults, repair, wait until settled, read the state, check it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from fleet.errors import FleetError
from tests.judge.checks import CheckResult, judge
from tests.judge.checks.run_data import RunData
from tests.judge.customers import Admin, Customer, Product, Shop
from tests.judge.evidence import State, Watch, read_state, settled
from tests.judge.history import History
from tests.judge.nemesis import Nemesis
from tests.judge.plan import Fault, Planned, draw
from tests.judge.target import Addresses, Target

SETTLE = 150.0  # seconds after the last fault within which all work must be finished
_SCARCE, _PLENTY = 25, 3_000  # pieces
_PRICE = "9.99"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a run; the same options repeat it.

    Attributes:
        duration: seconds of load.
        clients: number of customers; there is one admin for every six.
    """

    seed: int
    duration: float = 60.0
    clients: int = 12
    faults: Sequence[Fault] = tuple(Fault)


@dataclass(slots=True)
class Result:
    options: Options
    run_data: RunData
    verdicts: Sequence[CheckResult]
    seconds_to_settle: float = 0.0

    @property
    def passed(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts)


@dataclass(slots=True)
class Clock:
    """Seconds since the load began."""

    started: float = field(default_factory=time.monotonic)

    def __call__(self) -> float:
        return time.monotonic() - self.started


Progress = Callable[[float, History, Nemesis], None]


async def run(
    target: Target, options: Options, progress: Progress, history_file: Path | None = None
) -> Result:
    """Execute a run on a running target, which keeps running."""
    addresses, tokens = target.addresses, _Tokens(target.addresses)
    await _until_ready(addresses)
    before = await read_state(addresses)
    products, initial = await _create_products(addresses, tokens, options.seed)
    clock, history = Clock(), History(file=history_file)
    shop = Shop(addresses.gateways, products, history, clock, tokens)
    nemesis, watch = Nemesis(target, clock), Watch(addresses, clock)
    plan = draw(options.seed, options.duration, target.surface, options.faults)
    watching = asyncio.create_task(watch.run())
    try:
        await _load_and_break(shop, nemesis, plan, options, progress)
        await target.restore()
        healed = clock()
        unsettled = await settled(addresses, SETTLE)
        took = clock() - healed
        await watch.look()
    finally:
        watching.cancel()
    state = await read_state(addresses)
    state.exclude_before(before)
    state.reads, state.unfinished = watch.reads, watch.unfinished
    run_data = _run_data(history, state, initial, nemesis, unsettled)
    return Result(options, run_data, await asyncio.to_thread(judge, run_data), took)


def _run_data(
    history: History, state: State, initial: dict[str, int], nemesis: Nemesis, unsettled: str
) -> RunData:
    return RunData(
        history,
        state,
        initial,
        faults=nemesis.done,
        smtp_windows=nemesis.smtp_windows,
        poison=nemesis.poison,
        refuses_content=nemesis.refuses_content,
        unsettled=unsettled,
    )


async def _load_and_break(
    shop: Shop, nemesis: Nemesis, plan: Sequence[Planned], options: Options, progress: Progress
) -> None:
    people = [
        Customer(shop, ("alice", "bob")[number % 2], number, options.seed)
        for number in range(options.clients)
    ]
    admins = [
        Admin(shop, "admin", options.clients + number, options.seed)
        for number in range(max(1, options.clients // 6))
    ]
    async with asyncio.TaskGroup() as group:
        for person in (*people, *admins):
            group.create_task(person.live())
        breaking = group.create_task(nemesis.execute(plan))
        while shop.now() < options.duration or not breaking.done():
            progress(shop.now(), shop.history, nemesis)
            await asyncio.sleep(0.5)
        shop.over.set()


class _Tokens:
    """Tokens of the demo users, cached, so that an outage of the identity provider is bridged."""

    def __init__(self, addresses: Addresses) -> None:
        self._identity = addresses.identity
        self._last: dict[str, tuple[float, str]] = {}
        self._turn = asyncio.Lock()

    async def __call__(self, user: str) -> str:
        async with self._turn:
            fresh_until, token = self._last.get(user, (0.0, ""))
            if time.monotonic() < fresh_until:
                return token
            return await self._renew(user)

    async def _renew(self, user: str) -> str:
        while True:
            with suppress(FleetError, OSError):
                async with asyncio.timeout(3):
                    answer = await asyncio.to_thread(self._identity.log_in, user, user)
                lifetime = answer["expires_in"] - 60.0
                self._last[user] = (time.monotonic() + lifetime, answer["access_token"])
                return str(answer["access_token"])
            await asyncio.sleep(0.5)  # retry interval


async def _until_ready(addresses: Addresses) -> None:
    async with httpx2.AsyncClient(timeout=5) as http, asyncio.timeout(60):
        for gateway in addresses.gateways:
            while True:
                with suppress(httpx2.TransportError):
                    answer = await http.get(f"{gateway}/api/products?page_size=1")
                    if answer.status_code == 200:
                        break
                await asyncio.sleep(0.2)


async def _create_products(
    addresses: Addresses, tokens: _Tokens, seed: int
) -> tuple[list[Product], dict[str, int]]:
    """Create eight products, three of them scarce; half of them are in the catalogue, too."""
    products, initial = [], {}
    headers = {"Authorization": f"Bearer {await tokens('admin')}"}
    async with httpx2.AsyncClient(
        base_url=addresses.gateways[0], headers=headers, timeout=15
    ) as http:
        for number in range(8):
            quantity = _SCARCE if number < 3 else _PLENTY
            name, product_id = f"Judged {seed} {number}", f"judged-{seed}-{time.time_ns()}"
            if number % 2:
                product_id = await _add_to_catalogue(http, name)
            body = {"product_id": product_id, "product_name": name, "quantity": quantity}
            answer = await http.post("/api/inventory", json=body)
            assert answer.status_code == 201, answer.text
            products.append(Product(product_id, name, _PRICE))
            initial[product_id] = quantity
    return products, initial


async def _add_to_catalogue(http: httpx2.AsyncClient, name: str) -> str:
    body = {
        "name": name,
        "description": "Bought and cancelled by the judge's customers.",
        "price": float(_PRICE),
        "category": "Judged",
        "tags": ["judge"],
        "stock_quantity": 1,
    }
    answer = await http.post("/api/products", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])
