"""A private Valkey for those who have no Redis: a real server from a wheel, its data in a folder of ours.

It listens on no port. Its socket and its files are for the user who started it and for nobody else.

The server runs under a small process, keeper.py, in a session of its own: Ctrl-C in the terminal does not take it away
while work is being handed back, and when its owner dies, however it dies, the keeper's input ends and the server goes
too. Two commands with the same data folder share one server; it lives as long as the one that started it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import redis

from evaluator.errors import ConfigError, Problem, Unavailable

_LONGEST_SOCKET_PATH: Final = 100
"""Unix socket addresses end at 104 bytes on macOS and 108 on Linux."""

_MOST_OF_THE_SYSTEM: Final = 103 if sys.platform == "darwin" else 107

READY: Final = "ready"
"""What the keeper says when the server answers; anything else is why it does not."""


@contextlib.contextmanager
def embedded_redis(folder: Path) -> Iterator[str]:
    """Give the address of a Valkey that keeps its data in `folder`, starting it when none runs there.

    Raises:
        ConfigError: the folder cannot be made, or the place of the socket is somebody else's.
        Unavailable: the server does not start; its log is in `folder`.
    """
    folder = folder.resolve()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        address = f"unix://{socket_of(folder)}"
    except OSError as error:
        what = f"cannot be used: {error.strerror}: {folder}; name a folder that can be written, or set REDIS_URL"
        raise ConfigError([Problem("EVALUATOR_DATA", what)]) from None
    if _answers(address):
        yield address
        return
    command = [sys.executable, "-m", "evaluator.state.keeper", str(folder)]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as keeper:
        said = keeper.stdout.readline().strip() if keeper.stdout else ""
        if said != READY:
            raise Unavailable(f"the embedded Valkey does not start: {said}; its log is {folder / 'valkey.log'}")
        yield address


def socket_of(folder: Path) -> Path:
    """Return where the socket is: in the folder, or if that path is too long, in a folder of ours among the temporary.

    There anybody may make a folder, and behind a socket in it a server of his own: it must be ours alone.
    """
    place = folder / "valkey.sock"
    if len(str(place).encode()) <= _LONGEST_SOCKET_PATH:
        return place
    short = hashlib.blake2b(f"{os.getuid()} {place}".encode(), digest_size=8).hexdigest()
    private = Path(tempfile.gettempdir()) / f"evaluator-{short}"
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EPERM, f"{private} is not ours alone")
    if len(str(short_place := private / "valkey.sock").encode()) > _MOST_OF_THE_SYSTEM:
        # In a folder of temporary files that is itself so deep the server would die without a word.
        raise OSError(errno.ENAMETOOLONG, "its path, and that of TMPDIR, are too long for a socket")
    return short_place


def _answers(address: str) -> bool:
    with redis.Redis.from_url(address, socket_timeout=2) as client:
        try:
            return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False
