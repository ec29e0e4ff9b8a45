"""Where tests keep their files: on a disk if there is one, for swap and for I/O that is counted."""

import mmap
import os
import tempfile
from pathlib import Path
from typing import Final

_BYTES: Final = 1 << 16


def reaches_a_disk(directory: Path) -> bool:
    """Tell whether what is written in `directory` past the page cache is counted as written to a disk."""
    try:
        with tempfile.NamedTemporaryFile(dir=directory) as file, mmap.mmap(-1, _BYTES) as buffer:
            descriptor = os.open(file.name, os.O_WRONLY | os.O_DIRECT)
            try:
                before = _written()
                os.write(descriptor, buffer)
                return _written() - before >= _BYTES
            finally:
                os.close(descriptor)
    except OSError:
        return False


def _written() -> int:
    """Return how many bytes this process has had written to disks (proc_pid_io(5))."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def directory_for_files() -> Path:
    """Return TMPDIR or what stands for it, but /var/tmp where that alone is on a disk."""
    first = Path(tempfile.gettempdir())
    # Many distributions have /tmp in memory.
    return next((each for each in (first, Path("/var/tmp")) if reaches_a_disk(each)), first)  # noqa: S108
