"""A mail server: enough of SMTP (RFC 5321, STARTTLS, AUTH PLAIN and LOGIN) to take messages and to refuse them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Final

PASSWORD: Final = "p@ss/word"  # noqa: S105 - of a stand-in
_LONGEST: Final = 16 << 20


@dataclass
class MailStandIn:
    """Listens on a free port of localhost between `start` and `stop`.

    Attributes:
        context: The certificate; without it there is no TLS.
        at_once: Whether TLS begins with the first byte (smtps), else by STARTTLS.
        password: What AUTH must give; mail without it is refused.
        refusals: By command (`MAIL`, `RCPT`, `DATA`, `AUTH`), the answer it gets: `450 come again`.
        messages: What arrived, oldest first, with `X-To` naming the envelope's readers.
        users: Who logged in.
    """

    context: ssl.SSLContext | None = None
    at_once: bool = False
    password: str = PASSWORD
    refusals: dict[str, str] = field(default_factory=dict)
    messages: list[EmailMessage] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    port: int = 0
    _server: asyncio.Server | None = None
    _talks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> int:
        """Listen; return the port."""
        context = self.context if self.at_once else None
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, ssl=context, limit=_LONGEST)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def stop(self) -> None:
        """Stop listening, and hang up on whoever still talks."""
        if self._server is not None:
            self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self._talks.add(task)
            task.add_done_callback(self._talks.discard)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await _Conversation(self, reader, writer).run()
        # A writer that is dropped while its connection still closes warns, in whichever test runs by then.
        writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()


class _Conversation:
    def __init__(self, of: MailStandIn, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._of = of
        self._reader = reader
        self._writer = writer
        self._safe = of.at_once
        self._user = ""
        self._to: list[str] = []

    async def run(self) -> None:
        await self._say("220 sandbox ESMTP")
        while line := (await self._reader.readline()).decode("ascii", "replace").strip():
            command, _, rest = line.partition(" ")
            verb = command.upper()
            if verb == "QUIT":
                await self._say("221 bye")
                return
            if (refusal := self._of.refusals.get(verb)) is not None:
                await self._say(refusal)
                continue
            await self._answer(verb, rest)

    async def _answer(self, verb: str, rest: str) -> None:
        match verb:
            case "EHLO" | "HELO":
                offers = ["sandbox", *(["STARTTLS"] if self._of.context and not self._safe else [])]
                offers += ["AUTH PLAIN LOGIN", "8BITMIME", "SMTPUTF8"]
                last = len(offers) - 1
                await self._say(*(f"250{' ' if i == last else '-'}{each}" for i, each in enumerate(offers)))
            case "STARTTLS" if self._of.context is not None and not self._safe:
                await self._say("220 go ahead")
                await self._writer.start_tls(self._of.context)
                self._safe, self._user = True, ""
            case "AUTH":
                await self._login(rest)
            case "MAIL" if not self._user:
                await self._say("530 5.7.0 log in first")
            case "MAIL" | "RSET" | "NOOP":
                self._to = []
                await self._say("250 ok")
            case "RCPT":
                self._to.append(rest.partition("<")[2].partition(">")[0])
                await self._say("250 ok")
            case "DATA":
                await self._take()
            case _:
                await self._say("502 5.5.1 unknown")

    async def _login(self, rest: str) -> None:
        way, _, first = rest.partition(" ")
        if way.upper() == "PLAIN":
            _, user, password = base64.b64decode(first or await self._asked("")).decode().split("\0")
        else:
            user = base64.b64decode(first or await self._asked("Username:")).decode()
            password = base64.b64decode(await self._asked("Password:")).decode()
        if password != self._of.password:
            await self._say("535 5.7.8 wrong")
            return
        self._user = user
        self._of.users.append(user)
        await self._say("235 welcome")

    async def _asked(self, what: str) -> str:
        await self._say(f"334 {base64.b64encode(what.encode()).decode()}")
        return (await self._reader.readline()).decode().strip()

    async def _take(self) -> None:
        await self._say("354 go ahead")
        content = await self._reader.readuntil(b"\r\n.\r\n")
        message = message_from_bytes(content[:-3].replace(b"\r\n..", b"\r\n."), policy=policy.default)
        assert isinstance(message, EmailMessage)  # noqa: S101 - what this policy makes
        message["X-To"] = ",".join(self._to)
        self._of.messages.append(message)
        await self._say("250 ok")

    async def _say(self, *lines: str) -> None:
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self._writer.drain()
