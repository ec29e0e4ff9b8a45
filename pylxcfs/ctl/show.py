"""``pylxcfsctl show``: what a process would read from a file, rendered here; needs no mount."""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from pylxcfs.config import ViewConfig

_PROC: Final = Path("/proc")
_SYS: Final = Path("/sys")


def file_name(text: str) -> str:
    """Convert ``meminfo``, ``/proc/meminfo`` or ``proc/meminfo`` to the table's spelling, the last one."""
    name = text.strip("/")
    return name if name.startswith(("proc/", "sys/")) else f"proc/{name}"


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"not a process id: {text!r}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--pid", metavar="P", type=_pid, help="as process P sees it (default: the calling process)"
    )
    whose.add_argument(
        "--container", metavar="ID", help="as a container sees it; the beginning of its id is enough"
    )
    parser.add_argument("file", metavar="FILE", type=file_name, help="for example meminfo or /proc/meminfo")


def run(arguments: argparse.Namespace) -> int:
    """Write the file's content; raises LookupError or OSError for what is not there."""
    # Late: -h and usage errors should not wait for them.
    from pylxcfs.content.engine import assemble  # noqa: PLC0415
    from pylxcfs.procfiles.table import VIRTUAL_FILES  # noqa: PLC0415

    file = next((file for file in VIRTUAL_FILES if file.path == arguments.file), None)
    if file is None:
        known = ", ".join(file.path.removeprefix("proc/") for file in VIRTUAL_FILES)
        raise LookupError(f"no such file: {arguments.file} (there are: {known})")
    # The parent is the caller's shell. It is 0 if it lives outside of our pid namespace (docker exec).
    pid = arguments.pid or os.getppid() or os.getpid()
    if arguments.container is None and not (_PROC / str(pid)).is_dir():
        raise LookupError(f"no such process: {pid}")
    engine = assemble(ViewConfig(), _PROC, _SYS)
    if file not in engine.files:
        raise LookupError(f"this kernel has no /{file.path}")
    if arguments.container is not None:
        pid = engine.resolver.find_container_pid(arguments.container)
    sys.stdout.buffer.write(engine.render_for_pid(file, pid))
    return 0
