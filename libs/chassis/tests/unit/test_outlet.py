"""What of an answer is written together, and that none of it is kept back."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest

from chassis.app.outlet import Outlet


class Transport:
    """Remembers what was written, and in how many pieces."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def writelines(self, parts: Iterable[bytes]) -> None:
        self.write(b"".join(parts))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def transport() -> Transport:
    return Transport()


@pytest.fixture
async def outlet(transport: Transport) -> Outlet:
    loop = asyncio.get_running_loop()
    return Outlet(cast("Any", transport), loop, transport.close)


@pytest.mark.parametrize("body", [b"body", b"x" * 100_000])
async def test_a_head_and_its_body_are_one_write(
    outlet: Outlet, transport: Transport, body: bytes
) -> None:
    outlet.write(b"head ")
    outlet.write(body)
    assert transport.written == [b"head " + body]
    await asyncio.sleep(0)
    assert transport.written == [b"head " + body]


async def test_a_head_whose_body_takes_time_goes_ahead(
    outlet: Outlet, transport: Transport
) -> None:
    outlet.write(b"head")
    assert transport.written == []
    await asyncio.sleep(0)
    assert transport.written == [b"head"]
    outlet.write(b"late")
    await asyncio.sleep(0)
    assert transport.written == [b"head", b"late"]


async def test_parts_keep_their_order_whatever_is_joined(
    outlet: Outlet, transport: Transport
) -> None:
    for number in range(7):
        outlet.write(b"%d" % number)
        if number in (0, 3):
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert b"".join(transport.written) == b"0123456"


async def test_what_is_kept_goes_out_before_the_connection_is_closed(
    outlet: Outlet, transport: Transport
) -> None:
    outlet.write(b"all")
    outlet.close()
    assert (transport.written, transport.closed) == ([b"all"], True)


async def test_nothing_is_written_to_a_connection_that_was_closed_meanwhile(
    outlet: Outlet, transport: Transport
) -> None:
    outlet.write(b"late")
    transport.close()
    await asyncio.sleep(0)
    assert transport.written == []
