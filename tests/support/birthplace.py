"""Where containers live that tests/support/births.py starts one after the other."""

import sys
from pathlib import Path

from tests.support import births
from tests.support.cgroups import Cgroup
from tests.support.cgroups.v2 import enable_controllers

_LIMIT_FILES = {1: "memory.limit_in_bytes", 2: "memory.max"}


def births_command(served: Path, count: int, mode: str, around: Cgroup) -> list[str]:
    """Return the command that has `count` containers live in groups of their own below `around`."""
    accounting = ("cpuacct",) if around.layout.v1 else ()
    parents = dict.fromkeys(str(around.path(name)) for name in ("memory", "cpu", *accounting))
    limit_file = _LIMIT_FILES[around.layout.version("memory")]
    if limit_file == "memory.max":
        enable_controllers(around.path("memory"))
    return [sys.executable, "-ISu", births.__file__, str(served), str(count), mode, limit_file, *parents]
