"""One process: SMTP that accepts everything, and the page."""

from __future__ import annotations

import argparse
import asyncio
import os

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session

from fleet.mailbox.app import create_app
from fleet.mailbox.store import Delivery, Store
from fleet.program import HOST

_SIZE_LIMIT = 25 * 1024 * 1024


class Sink:
    """aiosmtpd's handler: keeps each delivered message."""

    def __init__(self, store: Store) -> None:
        """``store`` is where the mails go."""
        self._store = store

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        """Keep the message; the SMTP answer says that it is ours now."""
        content = envelope.content
        raw = content.encode("utf-8", "replace") if isinstance(content, str) else content or b""
        delivery = Delivery(raw, envelope.mail_from or "", tuple(envelope.rcpt_tos))
        self._store.add(delivery)
        return f"250 2.0.0 Ok: queued as {delivery.id}"


async def serve(smtp_port: int, http_port: int, limit: int) -> None:
    """Run both listeners until uvicorn has its signal."""
    store = Store(limit)
    sink = Sink(store)
    smtp = await asyncio.get_running_loop().create_server(
        lambda: SMTP(sink, hostname="mailbox", data_size_limit=_SIZE_LIMIT, enable_SMTPUTF8=True),
        host=HOST,
        port=smtp_port,
    )
    config = uvicorn.Config(
        create_app(store),
        host=HOST,
        port=http_port,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    async with smtp:
        await uvicorn.Server(config).serve()


def main() -> None:
    """Read the ports; MAILBOX_MAX is the number of mails kept."""
    parser = argparse.ArgumentParser(prog="python -m fleet.mailbox", description=__doc__)
    parser.add_argument("--smtp-port", type=int, default=1025)
    parser.add_argument("--http-port", type=int, default=8025)
    arguments = parser.parse_args()
    limit = int(os.environ.get("MAILBOX_MAX") or 5000)
    asyncio.run(serve(arguments.smtp_port, arguments.http_port, limit))


if __name__ == "__main__":
    main()
