"""``pylxcfsctl show``: what a process would read from a file, rendered here; needs no mount."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pylxcfs.config import ViewConfig
from pylxcfs.ctl import whose
from pylxcfs.procfiles.binds import NODE_DIRECTORY

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


def check_file(arguments: argparse.Namespace) -> None:
    """Raise LookupError, before anything is opened, for a file that is none of ours on any machine."""
    from pylxcfs.procfiles.table import VIRTUAL_FILES  # noqa: PLC0415 - -h should not wait for it

    known = [file.path for file in VIRTUAL_FILES]
    if arguments.file not in known and not arguments.file.startswith(f"{NODE_DIRECTORY}/"):
        names = ", ".join(path.removeprefix("proc/") for path in known)
        raise LookupError(f"no such file: {arguments.file} (there are: {names})")


def find_file(arguments: argparse.Namespace, served: Iterable["VirtualFile"]) -> "VirtualFile":
    """Return the virtual file that is meant, of those that can be served here; raises LookupError."""
    for file in served:
        if file.path == arguments.file:
            return file
    raise LookupError(f"this kernel has no /{arguments.file}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_selection(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the file's content; raises LookupError or OSError for what is not there."""
    # Late: -h and usage errors should not wait for it.
    from pylxcfs.content.engine import assemble  # noqa: PLC0415

    check_file(arguments)
    with whose.asked_process(arguments) as pid:
        engine = assemble(ViewConfig(), PROC, SYS)
        content = engine.render_for_pid(find_file(arguments, engine.files), pid)
    sys.stdout.buffer.write(content)
    return 0
