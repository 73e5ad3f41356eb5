"""Fakes of the mail server and of the delivery log, and an SMTP server with scripted replies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from app.mail import Mail


class FakeMailer:
    """Accepts every mail, after raising the given errors."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.errors: list[Exception] = []

    async def send(self, mail: Mail) -> None:
        if self.errors:
            raise self.errors.pop(0)
        await asyncio.sleep(0)  # other tasks run meanwhile, as with a real server
        self.mails.append(mail)


class FakeDeliveryLog:
    """The delivery log of one replica. `errors` are raised instead of writing a record."""

    def __init__(self) -> None:
        self.recorded: list[UUID] = []
        self.unwritten: list[UUID] = []
        self.errors: list[Exception] = []

    def contains(self, event_id: UUID) -> bool:
        return event_id in self.unwritten or event_id in self.recorded

    def add(self, event_id: UUID, event_type: str) -> None:
        self.unwritten.append(event_id)

    async def catch_up(self) -> None:
        """Nothing to read."""

    async def flush(self) -> None:
        while self.unwritten:
            if self.errors:
                raise self.errors.pop(0)
            self.recorded.append(self.unwritten.pop(0))


class ScriptedSmtp:
    """An SMTP server on a socket. `says` maps a command to its reply.

    "hang up" closes the connection instead of a reply; "silence" sends nothing.
    """

    GOOD = {  # noqa: RUF012  never changed
        "GREETING": "220 ready",
        "EHLO": "250 scripted",
        "MAIL": "250 ok",
        "RCPT": "250 ok",
        "DATA": "354 go on",
        ".": "250 taken",
        "RSET": "250 ok",
        "QUIT": "221 bye",
    }

    def __init__(self) -> None:
        self.says: dict[str, str] = {}
        self.connections = 0
        self.commands: list[str] = []
        self.taken: list[bytes] = []
        self.port = 0
        self.delay = 0.0
        """Seconds before the reply to a mail's content."""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator["ScriptedSmtp"]:
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            going_on = await self._reply(writer, "GREETING")
            while going_on and (line := await reader.readline()):
                command = line.decode().split(" ")[0].strip().upper()
                self.commands.append(line.decode().strip())
                going_on = await self._reply(writer, command)
                if going_on and command == "DATA" and "DATA" not in self.says:
                    self.taken.append(await reader.readuntil(b"\r\n.\r\n"))
                    await asyncio.sleep(self.delay)
                    going_on = await self._reply(writer, ".")
                going_on = going_on and command != "QUIT"
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _reply(self, writer: asyncio.StreamWriter, command: str) -> bool:
        reply = self.says.get(command, self.GOOD.get(command, "500 what?"))
        if reply == "hang up":
            return False
        if reply != "silence":
            writer.write(reply.encode() + b"\r\n")
            await writer.drain()
        return True
