"""Run the mailbox: SMTP listener, API and web page."""

from __future__ import annotations

import argparse
import asyncio
import os

import uvicorn

from fleet.emulators.mailbox.app import create_app
from fleet.emulators.mailbox.faults import Faults
from fleet.emulators.mailbox.smtp import connection
from fleet.emulators.mailbox.store import Store
from fleet.processes.program import HOST


async def serve(smtp_port: int, http_port: int, limit: int) -> None:
    """Run both listeners until uvicorn receives a signal."""
    store, faults = Store(limit), Faults()
    smtp = await asyncio.get_running_loop().create_server(
        lambda: connection(store, faults), host=HOST, port=smtp_port
    )
    config = uvicorn.Config(
        create_app(store, faults),
        host=HOST,
        port=http_port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    async with smtp:
        await uvicorn.Server(config).serve()


def main() -> None:
    """Read the ports and MAILBOX_MAX, the number of stored mails."""
    parser = argparse.ArgumentParser(prog="python -m fleet.emulators.mailbox", description=__doc__)
    parser.add_argument("--smtp-port", type=int, default=1025)
    parser.add_argument("--http-port", type=int, default=8025)
    arguments = parser.parse_args()
    limit = int(os.environ.get("MAILBOX_MAX") or 5000)
    asyncio.run(serve(arguments.smtp_port, arguments.http_port, limit))


if __name__ == "__main__":
    main()
