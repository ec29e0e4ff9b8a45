"""The mount table, and taking mounts down."""

import subprocess
from pathlib import Path

from pylxcfs.linux.mountinfo import Mount, parse_mountinfo


def mounts(pid: int | str = "self") -> list[Mount]:
    """Read a process's mount table, this one's if none is named."""
    return parse_mountinfo(Path(f"/proc/{pid}/mountinfo").read_bytes())


def mounts_under(directory: Path) -> list[Mount]:
    """Name the mounts on `directory` or below it."""
    return [mount for mount in mounts() if mount.mount_point.is_relative_to(directory)]


def unmount_under(directory: Path) -> None:
    """Take down whatever is still mounted on `directory` or below it."""
    for mount in reversed(mounts_under(directory)):
        subprocess.run(["umount", "--lazy", mount.point], check=False, stderr=subprocess.DEVNULL)
