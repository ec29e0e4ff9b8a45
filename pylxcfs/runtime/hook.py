"""The createContainer hook: binds our files in the mount namespace of a container that is being made.

    hook.py [--mount-point DIR] [PATH...]      PATH is like ``proc/meminfo``; without any, all that is served

The runtime calls it before pivot_root: the host's paths are still there, and the container's root is a
directory below them. That directory is the image's, so no link in it is followed. Source: OCI runtime
specification, runtime.md and config.md ("POSIX-platform Hooks").
"""

import argparse
import errno
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pylxcfs.linux import mountapi
from pylxcfs.linux.mountinfo import parse_mount_id
from pylxcfs.procfiles.binds import DEFAULT_MOUNT_POINT, bindable

#: One directory of files.
PRESSURE: Final = "proc/pressure"
_MAX_BYTES: Final = 4 << 20
#: No container waits longer for us.
_MAX_SECONDS: Final = 5
_UNWANTED: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.EXDEV, errno.ENOTDIR})


def main(argv: Sequence[str] | None = None) -> int:
    """Bind what the arguments name; return an exit status that `pylxcfs-hook` keeps to itself."""
    parser = argparse.ArgumentParser(prog="pylxcfs-hook")
    parser.add_argument("--mount-point", type=Path, default=Path(DEFAULT_MOUNT_POINT))
    parser.add_argument("paths", nargs="*", metavar="PATH")
    arguments = parser.parse_args(argv)
    signal.alarm(_MAX_SECONDS)
    root = container_root(json.loads(sys.stdin.buffer.read(_MAX_BYTES)))
    bind(arguments.mount_point, root, arguments.paths or served(arguments.mount_point))
    return 0


def container_root(state: dict[str, Any]) -> Path:
    """Return the root directory of the container whose state the runtime gives (runtime.md, "State")."""
    bundle = Path(state["bundle"])
    with (bundle / "config.json").open("rb") as file:
        path: str = json.loads(file.read(_MAX_BYTES))["root"]["path"]
    return bundle / path


def served(mount_point: Path) -> Iterator[str]:
    """Yield what can be bound of what is served at a mount point."""
    files = (f"proc/{path.name}" for path in (mount_point / "proc").iterdir())
    yield from sorted(bindable([*files, "sys/devices/system/cpu/online"]))
    if (mount_point / PRESSURE).is_dir():
        yield PRESSURE


def bind(mount_point: Path, root: Path, paths: Iterable[str]) -> None:
    """Bind each path of the mount point over the same one below `root`; leave out what the container has not.

    No symbolic link below `root` is followed. A place that something was mounted on before is left alone.
    """
    tree = os.open(mount_point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if os.fstat(tree).st_dev == mount_point.parent.stat().st_dev:
        return
    for path in paths:
        try:
            target = mountapi.find(top, path)
            clone = mountapi.clone_mount(tree, path)
        except OSError as error:
            if error.errno in _UNWANTED:
                continue
            raise
        if not _is_mount(target, top, path):
            mountapi.close_and_make_private(clone)
            mountapi.attach(clone, target)


def _is_mount(target: int, top: int, path: str) -> bool:
    """Tell whether a place is a mount of its own, other than the /proc or /sys that it is in."""
    return _mount_id(target) != _mount_id(mountapi.find(top, path.partition("/")[0]))


def _mount_id(fd: int) -> bytes:
    mount_id = parse_mount_id(Path(f"/proc/self/fdinfo/{fd}").read_bytes())
    if mount_id is None:
        raise OSError(errno.ENOSYS, "no mnt_id in fdinfo")
    return mount_id


if __name__ == "__main__":
    sys.exit(main())
