"""The files of the runtime directory: ours alone, replaced as a whole."""

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


def replace_file(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Replace a file so that nobody sees half of it; follows no link. Raises OSError."""
    new = path.with_name(f"{path.name}.new")
    try:
        fd = os.open(new, _NEW, mode)
    except FileExistsError:
        # Left by a process that died in the middle.
        new.unlink()
        fd = os.open(new, _NEW, mode)
    with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
        file.write(content)
    new.replace(path)
