"""Promise 63: every service refuses hostile bodies with little memory, on every route with a body.

Measures the peak resident memory of the fleet's processes (`VmHWM` of Linux), to which a
container's memory limit applies.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conformance.samples import body_of, with_invalid_values
from tests.conformance.test_hostile_input import (
    BODILESS,
    ID,
    JSON,
    Call,
    auth_headers,
    document_of,
    operations,
)
from tests.fleet_under_test import GATEWAY, SERVICES, Fleet

AT_ONCE = 8
MAX_GROWTH_MB = 20
MAX_ANSWER_BYTES = 65_536
ELEMENTS = 100_000
MEMBERS = 60_000

VALUES = [
    "[" + "1," * (ELEMENTS - 1) + "1]",
    "[" + "[]," * (ELEMENTS - 1) + "[]]",
    # Below the token limit, so that they are parsed and validated.
    "[" + "{}," * 1_900 + "{}]",
    "[" + '"\\ud83d\\ude00",' * 1_900 + '""]',
    "[" * ELEMENTS,
    "[" * 400 + "]" * 400,
    "9" * 200_000,
    "0." + "9" * 100_000,
    "1e999999999",
    '"' + "x" * 900_000 + '"',
]


def hostile(body: Any) -> Iterator[bytes]:
    """Yield a valid body with each value replaced by VALUES, and objects with too many members."""
    yield from with_invalid_values(body, VALUES)
    if not isinstance(body, dict):
        return
    unknown = ",".join(f'"unknown{number}":1' for number in range(MEMBERS))
    known = f'"{next(iter(body))}":1,'
    members = json.dumps(body)[1:]
    yield f"{{{unknown},{members}".encode()
    yield f"{{{known * MEMBERS}{members}".encode()
    yield f'{{"{"n" * 700_000}":1,{members}'.encode()
    yield f'{{"{"n" * 10_000}":1,{members}'.encode()
    some = ",".join(f'"n{number}":1' for number in range(1_900))
    yield f"{{{some},{members}".encode()
    for name in (name for name, value in body.items() if isinstance(value, list)):
        yield json.dumps({**body, name: [{"n" * 10_000: 1}]}).encode()
        yield json.dumps({**body, name: [{f"n{n}": 1 for n in range(1_900)}]}).encode()


def memory(pid: int, name: str) -> float:
    """Return a memory figure of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def reset_peak(pid: int) -> float:
    """Reset the peak; return the resident memory, in MB."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # see proc(5)
    return memory(pid, "VmRSS")


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    """Yield the body in chunks, which omits Content-Length."""
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


async def send(client: httpx2.AsyncClient, call: Call, *, chunked: bool) -> httpx2.Response:
    assert call.body is not None
    content = in_chunks(call.body) if chunked else call.body
    return await client.request(call.method, call.url, content=content, headers=call.headers)


@pytest.mark.parametrize("service", [name for name in SERVICES if name not in BODILESS])
async def test_promise_63_eight_concurrent_hostile_bodies_have_bounded_memory(
    fleet: Fleet, service: str
) -> None:
    """Promise 63: the peak over all bodies and routes is less than 20 MB above the start."""
    headers = JSON | {"idempotency-key": ID} | auth_headers(fleet, service)
    async with httpx2.AsyncClient(base_url=fleet.url(service), timeout=30.0) as client:
        document = await document_of(client)
        calls = [
            Call(method, path.replace("{", "").replace("}", ""), shape, headers)
            for method, path, operation in operations(document)
            if (body := body_of(operation, document)) is not None
            for shape in hostile(body)
        ]
        if service == GATEWAY:  # forwards to services that are tested themselves
            calls = calls[::5]
        assert calls
        for call in calls[:: len(calls) // 8]:  # warm-up: the first requests load modules
            await send(client, call, chunked=False)
        pid = fleet.pid(service)
        before = reset_peak(pid)
        wrong: list[str] = []
        for number, call in enumerate(calls):
            chunked = number % 2 == 1
            eight = [send(client, call, chunked=chunked) for _ in range(AT_ONCE)]
            for answer in await asyncio.gather(*eight):
                size = len(answer.content)
                refused = 400 <= answer.status_code < 500
                # An import reports the rows that it refused.
                reported = answer.status_code == 200 and call.url.endswith("/import")
                if not (refused or reported) or size > MAX_ANSWER_BYTES:
                    wrong.append(f"{answer.status_code}, {size} bytes: {call}")
        growth = memory(pid, "VmHWM") - before
    assert not wrong, wrong[:10]
    assert growth < MAX_GROWTH_MB, f"{growth:.1f} MB"
    assert fleet.pid(service) == pid
