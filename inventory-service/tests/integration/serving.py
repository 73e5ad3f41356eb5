"""The service in a process of its own, for tests that kill it or start it without servers."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2

from fleet.processes.ports import free_port

SERVICE = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def serving(
    **environment: str,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx2.AsyncClient]]:
    """Yield the process and a client once the service responds; stop it with SIGTERM at the end."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "app.main:app"),
        *("--port", str(port), "--http", "httptools"),
        cwd=SERVICE,
        env={**os.environ, "KAFKA_ENABLE_IDEMPOTENCE": "false", **environment},
        stdout=asyncio.subprocess.DEVNULL,
    )
    base_url = f"http://127.0.0.1:{port}"
    try:
        async with httpx2.AsyncClient(base_url=base_url, timeout=30) as client:
            await _answering(client, process)
            yield process, client
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), timeout=15)


async def _answering(client: httpx2.AsyncClient, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(30):
        while True:
            assert process.returncode is None, "the service ended instead of starting"
            try:
                await client.get("/health")
            except httpx2.TransportError:
                await asyncio.sleep(0.05)
            else:
                return
