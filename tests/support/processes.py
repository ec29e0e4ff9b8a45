"""Looking at processes."""

import contextlib
import os
from pathlib import Path


def has_open(pid: int, device: str) -> bool:
    """Tell whether a process has a device open, by whatever name it has there."""
    with contextlib.suppress(FileNotFoundError):
        number = os.stat(device).st_rdev
        return number in [os.stat(link).st_rdev for link in Path(f"/proc/{pid}/fd").iterdir()]
    return False
