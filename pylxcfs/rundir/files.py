"""The files of the runtime directory: ours alone, replaced as a whole."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from pylxcfs.errors import StartupError

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
#: For whoever wants to know, and for nobody to change, whatever the umask is.
READABLE: Final = 0o644
PRIVATE: Final = 0o600
#: Of one file, unless its owner says otherwise: what thousands of containers need (docs/adr/0027-space.md).
MOST_BYTES: Final = 1 << 20


def make_state_directory(path: Path) -> None:
    """Make the directory if need be; raises StartupError if anybody else could change what is in it.

    Somebody may have made it before us, where everybody may write to the directory above.
    """
    try:
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise StartupError(f"cannot make {path}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise StartupError(f"{path} is not a directory")
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE:
        raise StartupError(f"{path} can be written by others: remove it, or choose another --runtime-dir")


def replace_file(path: Path, content: bytes, mode: int = PRIVATE, *, most: int = MOST_BYTES) -> None:
    """Replace a file so that nobody sees half of it; follows no link, and leaves nothing where it fails.

    Raises OSError: EFBIG for more than `most` bytes, ENOSPC where there is no room.
    """
    if len(content) > most:
        raise OSError(errno.EFBIG, f"{path.name} would have more than {most >> 10} KiB")
    new = path.with_name(f"{path.name}.new")
    try:
        _write(new, content, mode)
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def read_file(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file of ours; raises OSError, EFBIG for more than `most` bytes."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"{path.name} has more than {most >> 10} KiB")
    return content


def _write(new: Path, content: bytes, mode: int) -> None:
    try:
        fd = os.open(new, _NEW, mode)
    except FileExistsError:
        # Left by a process that died in the middle.
        new.unlink()
        fd = os.open(new, _NEW, mode)
    with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(content)
