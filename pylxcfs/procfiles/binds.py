"""What of our tree can be bound into a container, whichever runtime starts it."""

from collections.abc import Iterable
from typing import Final

DEFAULT_MOUNT_POINT: Final = "/var/lib/lxcfs"

#: The only files below /proc that runc lets anybody bind over (libcontainer/rootfs_linux.go,
#: checkProcMount); one more and the container does not start.
_BINDABLE: Final = frozenset(
    f"proc/{name}"
    for name in ("cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "slabinfo")
)
#: Has the host's content but for the table's files, and directories only of the visible CPUs. runc lets
#: anybody bind over anything below /sys.
CPU_DIRECTORY: Final = "sys/devices/system/cpu"
#: All of it is ours; only where the kernel has NUMA.
NODE_DIRECTORY: Final = "sys/devices/system/node"
_DIRECTORIES: Final = (CPU_DIRECTORY, NODE_DIRECTORY)


def bindable(paths: Iterable[str]) -> tuple[str, ...]:
    """Return those of `paths` (like ``proc/meminfo``) that runc lets through; directories as a whole."""
    binds = dict.fromkeys(map(_place, paths))
    return tuple(path for path in binds if path in _DIRECTORIES or path in _BINDABLE)


def _place(path: str) -> str:
    return next((directory for directory in _DIRECTORIES if path.startswith(f"{directory}/")), path)
