"""Personalities (personality(2)): arm64 describes its processors otherwise to tasks with a 32-bit one."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

#: <linux/personality.h>; flags like ADDR_NO_RANDOMIZE stand above the domain.
PER_MASK: Final = 0xFF
PER_LINUX32: Final = 8
_libc: Final = ctypes.CDLL(None, use_errno=True)


def kernel_heeds_personality() -> bool:
    """Tell whether /proc/cpuinfo depends on who reads it (arch/arm64/kernel/cpuinfo.c, since Linux 3.19)."""
    return os.uname().machine == "aarch64"


@contextmanager
def linux32() -> Iterator[None]:
    """Have a 32-bit personality meanwhile: the calling thread alone, for it belongs to the task.

    Where that is forbidden (LockPersonality= of systemd) it keeps its own, and reads what all others do.
    """
    try:
        before = _set(PER_LINUX32)
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        _set(before)


def _set(personality: int) -> int:
    before = int(_libc.personality(ctypes.c_ulong(personality)))
    if before == -1:
        raise OSError(ctypes.get_errno(), "personality")
    return before
