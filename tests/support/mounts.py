"""The mount table, and taking mounts down."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of /proc/self/mountinfo."""

    point: Path
    type: str
    super_options: str


def mounts() -> list[Mount]:
    """Read this process's mount table (proc_pid_mountinfo(5))."""
    table = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        before, _, after = line.partition(" - ")
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), before.split()[4])
        fs_type, _source, super_options = after.split(" ", 2)
        table.append(Mount(Path(point), fs_type, super_options))
    return table


def mounts_under(directory: Path) -> list[Mount]:
    """Name the mounts on `directory` or below it."""
    return [mount for mount in mounts() if mount.point.is_relative_to(directory)]


def unmount_under(directory: Path) -> None:
    """Take down whatever is still mounted on `directory` or below it."""
    for mount in reversed(mounts_under(directory)):
        subprocess.run(["umount", "--lazy", mount.point], check=False, stderr=subprocess.DEVNULL)
