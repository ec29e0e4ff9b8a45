"""``pylxcfsctl show``: what a process would read from a file, rendered here; needs no mount."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pylxcfs.config import ViewConfig
from pylxcfs.ctl import whose

if TYPE_CHECKING:
    from pylxcfs.procfiles.table import VirtualFile

PROC: Final = Path("/proc")
SYS: Final = Path("/sys")


def file_name(text: str) -> str:
    """Convert ``meminfo``, ``/proc/meminfo`` or ``proc/meminfo`` to the table's spelling, the last one."""
    name = text.strip("/")
    return name if name.startswith(("proc/", "sys/")) else f"proc/{name}"


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Declare which file is looked at, and through whose eyes."""
    whose.add_container(parser, "as process P sees it (default: the calling process)")
    parser.add_argument("file", metavar="FILE", type=file_name, help="for example meminfo or /proc/meminfo")


def find_file(arguments: argparse.Namespace) -> "VirtualFile":
    """Return the virtual file that is meant; raises LookupError."""
    from pylxcfs.procfiles.table import VIRTUAL_FILES  # noqa: PLC0415 - -h should not wait for it

    file = next((file for file in VIRTUAL_FILES if file.path == arguments.file), None)
    if file is None:
        known = ", ".join(file.path.removeprefix("proc/") for file in VIRTUAL_FILES)
        raise LookupError(f"no such file: {arguments.file} (there are: {known})")
    return file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_selection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file's content; raises LookupError or OSError for what is not there."""
    # Late: -h and usage errors should not wait for it.
    from pylxcfs.content.engine import assemble  # noqa: PLC0415

    file = find_file(arguments)
    with whose.asked_process(arguments) as pid:
        engine = assemble(ViewConfig(), PROC, SYS)
        if file not in engine.files:
            raise LookupError(f"this kernel has no /{file.path}")
        content = engine.render_for_pid(file, pid)
    sys.stdout.buffer.write(content)
    return 0
