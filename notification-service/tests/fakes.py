"""Fakes of the mail server and of mail-sent, and a real SMTP server that is told what to say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from app.mail import Mail


class FakeMailer:
    """Takes every mail, after raising what it was given to raise."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.errors: list[Exception] = []

    async def send(self, mail: Mail) -> None:
        if self.errors:
            raise self.errors.pop(0)
        await asyncio.sleep(0)  # others get their turn meanwhile, as with a real one
        self.mails.append(mail)


class FakeSentMails:
    """The memory of one replica; `errors` are raised instead of writing a record."""

    def __init__(self) -> None:
        self.recorded: list[UUID] = []
        self.owed: list[UUID] = []
        self.errors: list[Exception] = []

    def knows(self, event_id: UUID) -> bool:
        return event_id in self.owed or event_id in self.recorded

    def remember(self, event_id: UUID, event_type: str) -> None:
        self.owed.append(event_id)

    async def settle(self) -> None:
        while self.owed:
            if self.errors:
                raise self.errors.pop(0)
            self.recorded.append(self.owed.pop(0))


class ScriptedSmtp:
    """An SMTP server over a real socket. `says` maps a command to the reply that it gets.

    A reply of "hang up" closes the connection instead; "silence" answers nothing.
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
        """Seconds before the answer to a mail's content."""

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
