"""Looking at processes."""

import contextlib
import os
import re
from contextlib import suppress
from pathlib import Path


def has_open(pid: int, device: str) -> bool:
    """Tell whether a process has a device open, by whatever name it has there."""
    with contextlib.suppress(FileNotFoundError):
        number = os.stat(device).st_rdev
        return number in [os.stat(link).st_rdev for link in Path(f"/proc/{pid}/fd").iterdir()]
    return False


def lasting_descriptors(pid: int) -> int:
    """Count what a server has open, but for tasks that have asked of late: they have a bound of their own."""
    opened = f"/proc/{pid}/fd"
    names = []
    for name in os.listdir(opened):
        with suppress(FileNotFoundError):
            names.append(os.readlink(f"{opened}/{name}"))
    return sum(not re.fullmatch(r"/proc/\d+/cgroup", name) for name in names)
