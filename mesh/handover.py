"""How a process takes the place of one like it, without a call being lost in between.

Both listen at once. On a port they share it (SO_REUSEPORT); left alone the kernel would deal
connections out to both, and whoever closes resets what still waits in its queue. So a program
of one instruction, attached to the port, sends every new connection to whoever came last, and
the one that leaves goes on taking what waits until nothing does. A unix socket is made under
a name of its own and then put in the place of the one before: a caller finds either.

Connections that stand move by their age: `connection_seconds` after it was made, each is asked
to be made anew (GOAWAY), its calls being answered to their end.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

BACKLOG = 1024
_ATTACH_REUSEPORT_CBPF = 51  # Linux; the socket module does not name it.
_RETURN_CONSTANT = 0x06
_ACCEPT_TURNS = 3  # Of the loop: the task that takes a connection, the server that hears of it.
_PID = re.compile(r".+-(\d+)\.sock")


def own_path(path: Path, pid: int) -> Path:
    """Return where the process `pid` has its own socket of those that `path` may lead to."""
    return path.with_name(f"{path.stem}-{pid}{path.suffix}")


def prepare_path(path: Path) -> Path:
    """Return a free name for this process's own socket; forget those of processes that died."""
    for other in path.parent.glob(f"{path.stem}-*{path.suffix}"):
        match = _PID.fullmatch(other.name)
        if match and not _runs(int(match[1])):
            other.unlink(missing_ok=True)
    own = own_path(path, os.getpid())
    own.unlink(missing_ok=True)
    return own


def take_path(own: Path, path: Path) -> None:
    """Let `path` lead to the socket `own` from now on. Callers find the old one or this."""
    draft = own.with_suffix(".new")
    draft.unlink(missing_ok=True)
    os.link(own, draft)  # Two names of one socket; renaming is what happens at once.
    draft.replace(path)


def leads_to(path: Path, own: Path) -> bool:
    """Return whether `path` leads to the socket `own`."""
    try:
        return path.samefile(own)
    except OSError:
        return False


def leave_path(own: Path, path: Path) -> None:
    """Take the names of our socket away, but not those of who has taken our place."""
    if leads_to(path, own):
        path.unlink(missing_ok=True)
    own.unlink(missing_ok=True)


def shared_listener(host: str, port: int) -> socket.socket:
    """Return a listening socket that gets all new connections until the next one opens.

    Raises OSError when somebody else uses the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
        to_the_last(listener)
    except BaseException:
        listener.close()
        raise
    return listener


async def take_no_more(listener: socket.socket) -> None:
    """Take in nothing more; return when all that was taken in is known to its server.

    asyncio forgets a connection, open, whose server is closed between the two (3.11 seen): its
    caller would wait for ever.
    """
    asyncio.get_running_loop().remove_reader(listener.fileno())
    for _ in range(_ACCEPT_TURNS):
        await asyncio.sleep(0)


def steer(port: int) -> None:
    """Send new connections on `port` to whoever of this machine's processes opened it last.

    For sockets that a library has made in this process and that it does not show.
    """
    for listener in _listeners(port):
        to_the_last(listener)
        listener.close()


def to_the_last(listener: socket.socket) -> None:
    """Attach `return 1`: the second socket of the port; the only one, if there is no other."""
    if sys.platform != "linux":
        return  # There the kernel goes on dealing out; a few connections may be reset.
    code = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN_CONSTANT, 0, 0, 1))
    program = struct.pack("HL", 1, ctypes.addressof(code))
    listener.setsockopt(socket.SOL_SOCKET, _ATTACH_REUSEPORT_CBPF, program)


def _listeners(port: int) -> Iterator[socket.socket]:
    """Yield a duplicate of each of our sockets that listens on `port`, to be closed."""
    folder = Path("/proc/self/fd")
    for entry in list(folder.iterdir()) if sys.platform == "linux" else ():
        with suppress(OSError):  # No socket, or closed while we looked.
            if not stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode):
                continue
            found = socket.socket(fileno=os.dup(int(entry.name)))
            if _listens_on(found, port):
                yield found
            else:
                found.close()


def _listens_on(found: socket.socket, port: int) -> bool:
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    accepts = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(accepts) and found.getsockname()[1] == port


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
