"""TLS in front of whatever listens, with a certificate made on the spot by an authority that nobody knows."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evaluator.loop import LoopThread


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for `localhost` that signs itself: whoever trusts the file trusts the server."""

    file: Path
    key: Path


def certificate(folder: Path) -> Certificate:
    """Make a certificate; `openssl` must be there."""
    made = Certificate(folder / "authority.pem", folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    subprocess.run(
        [*command, *subject, "-out", str(made.file), "-keyout", str(made.key)], check=True, capture_output=True
    )
    return made


@contextlib.contextmanager
def tls_in_front_of(target: str | int, made: Certificate) -> Iterator[int]:
    """Listen with TLS and pass everything on to a port, or to the socket at a path; give the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.file, made.key)

    async def serve() -> asyncio.Server:
        return await asyncio.start_server(_passing_to(target), "127.0.0.1", 0, ssl=context)

    with LoopThread("tls") as loop:
        server = loop.call(serve())
        yield int(server.sockets[0].getsockname()[1])
        loop.call(_closed(server))


def _passing_to(target: str | int):  # type: ignore[no-untyped-def] # noqa: ANN202 - asyncio's own callback
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await (
                asyncio.open_connection("127.0.0.1", target)
                if isinstance(target, int)
                else asyncio.open_unix_connection(target)
            )
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            writer.close()

    return accept


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _closed(server: asyncio.Server) -> None:
    server.close()
