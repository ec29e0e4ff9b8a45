"""The socket by which a server tells of itself: one document per connection, and nothing is listened to.

In the runtime directory, mode 0600: no container can reach it that was not given /run as root, and that one
would learn numbers and file names only.
"""

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_NAME: Final = "status.socket"
_LONGEST: Final = 1 << 20


def listen(directory: Path) -> socket.socket:
    """Take the place of whoever listens in `directory`; raises OSError."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    _remove_left(directory)
    name = f"{_NAME}.{os.getpid()}"
    listening = socket.socket(socket.AF_UNIX)
    try:
        with _address(directory, name) as address:
            _remove(directory, name)
            listening.bind(address)
        # Nobody can connect before `listen`, so nobody can before this.
        (directory / name).chmod(0o600)
        listening.listen()
        (directory / name).replace(directory / _NAME)
    except BaseException:
        listening.close()
        _remove(directory, name)
        raise
    return listening


def ask(directory: Path, seconds: float) -> bytes:
    """Return the document of the server in `directory`; raises OSError, TimeoutError after `seconds`."""
    deadline = time.monotonic() + seconds
    document = b""
    with socket.socket(socket.AF_UNIX) as asking, _address(directory, _NAME) as address:
        asking.settimeout(seconds)
        asking.connect(address)
        while len(document) < _LONGEST and (piece := asking.recv(1 << 16)):
            document += piece
            asking.settimeout(max(0.001, deadline - time.monotonic()))
    return document


def remove(directory: Path) -> None:
    """Remove what a server has left."""
    _remove(directory, _NAME)


def _remove_left(directory: Path) -> None:
    """Remove what servers have left that died before they had taken the place."""
    for path in directory.glob(f"{_NAME}.*"):
        number = path.name.rpartition(".")[2]
        if number.isdigit() and not Path("/proc", number).exists():
            _remove(directory, path.name)


def _remove(directory: Path, name: str) -> None:
    with contextlib.suppress(OSError):
        (directory / name).unlink(missing_ok=True)


@contextlib.contextmanager
def _address(directory: Path, name: str) -> Iterator[str]:
    """Name a socket shortly: sun_path has 108 bytes (unix(7)), and a runtime directory may be deep."""
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{name}"
    finally:
        os.close(fd)
