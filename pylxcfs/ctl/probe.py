"""``pylxcfsctl probe``: whether the mount answers; for whoever looks after a container of ours."""

import argparse
import os
import select
import signal
import sys
from pathlib import Path

from pylxcfs.binds import DEFAULT_MOUNT_POINT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--mount-point",
        metavar="DIR",
        type=Path,
        default=DEFAULT_MOUNT_POINT,
        help="where pylxcfs serves (default: %(default)s)",
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="how long it may take to answer (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Read a file through the mount; say what is wrong, if anything is."""
    file = Path(arguments.mount_point) / "proc" / "uptime"
    # In a process of its own: a request that a hanging server has taken cannot be called off.
    pid = os.fork()
    if not pid:
        os._exit(_read(file))
    pidfd = os.pidfd_open(pid)
    if not select.select([pidfd], [], [], arguments.seconds)[0]:
        os.kill(pid, signal.SIGKILL)
        sys.stderr.write(f"pylxcfsctl: {file} is not answered within {arguments.seconds:g} s\n")
        return 1
    number = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if number:
        sys.stderr.write(f"pylxcfsctl: {file}: {os.strerror(number)}\n")
    return int(number != 0)


def _read(file: Path) -> int:
    """Return the errno of reading a file, 0 for none."""
    try:
        file.read_bytes()
    except OSError as error:
        return error.errno or 1
    return 0
