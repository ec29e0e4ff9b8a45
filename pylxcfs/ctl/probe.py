"""``pylxcfsctl probe``: whether the mount answers; for whoever looks after a container of ours."""

import argparse
import os
from typing import Final

from pylxcfs.console import complain
from pylxcfs.ctl.options import add_mount_point
from pylxcfs.fuse.probe import ask

_FILE: Final = "proc/uptime"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_mount_point(parser)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="how long it may take to answer (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Read a file through the mount; say what is wrong, if anything is."""
    number = ask(arguments.mount_point, _FILE, seconds=arguments.seconds)
    file = arguments.mount_point / _FILE
    if number is None:
        complain("pylxcfsctl", f"{file} is not answered within {arguments.seconds:g} s")
    elif number:
        complain("pylxcfsctl", f"{file}: {os.strerror(number)}")
    return int(number != 0)
