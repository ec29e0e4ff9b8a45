"""``pylxcfsctl show``: what a process would read from a file, rendered here; needs no mount."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pylxcfs.config import ViewConfig

if TYPE_CHECKING:
    from pylxcfs.containers.resolver import Resolver
    from pylxcfs.procfiles.table import VirtualFile

PROC: Final = Path("/proc")
SYS: Final = Path("/sys")


def file_name(text: str) -> str:
    """Convert ``meminfo``, ``/proc/meminfo`` or ``proc/meminfo`` to the table's spelling, the last one."""
    name = text.strip("/")
    return name if name.startswith(("proc/", "sys/")) else f"proc/{name}"


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"not a process id: {text!r}")
    return int(text)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Declare which file is looked at, and through whose eyes."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--pid", metavar="P", type=_pid, help="as process P sees it (default: the calling process)"
    )
    whose.add_argument(
        "--container", metavar="ID", help="as a container sees it; the beginning of its id is enough"
    )
    parser.add_argument("file", metavar="FILE", type=file_name, help="for example meminfo or /proc/meminfo")


def find_file(arguments: argparse.Namespace) -> "VirtualFile":
    """Return the virtual file that is meant, once it is clear whose; raises LookupError."""
    from pylxcfs.procfiles.table import VIRTUAL_FILES  # noqa: PLC0415 - -h should not wait for it

    file = next((file for file in VIRTUAL_FILES if file.path == arguments.file), None)
    if file is None:
        known = ", ".join(file.path.removeprefix("proc/") for file in VIRTUAL_FILES)
        raise LookupError(f"no such file: {arguments.file} (there are: {known})")
    if arguments.container is None and not (PROC / str(_caller(arguments))).is_dir():
        raise LookupError(f"no such process: {_caller(arguments)}")
    return file


def find_pid(arguments: argparse.Namespace, resolver: "Resolver") -> int:
    """Return the process that is meant; raises LookupError."""
    if arguments.container is not None:
        return resolver.find_container_pid(arguments.container)
    return _caller(arguments)


def _caller(arguments: argparse.Namespace) -> int:
    # The parent is the caller's shell. It is 0 if it lives outside of our pid namespace (docker exec).
    return arguments.pid or os.getppid() or os.getpid()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_selection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file's content; raises LookupError or OSError for what is not there."""
    # Late: -h and usage errors should not wait for it.
    from pylxcfs.content.engine import assemble  # noqa: PLC0415

    file = find_file(arguments)
    engine = assemble(ViewConfig(), PROC, SYS)
    if file not in engine.files:
        raise LookupError(f"this kernel has no /{file.path}")
    sys.stdout.buffer.write(engine.render_for_pid(file, find_pid(arguments, engine.resolver)))
    return 0
