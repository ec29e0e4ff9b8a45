"""``pylxcfsctl docker-args``: the options that bind our files into a container."""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pylxcfs.console import write_lines
from pylxcfs.ctl.options import add_mount_point_word
from pylxcfs.procfiles.binds import bindable


def docker_arguments(mount_point: str, paths: Iterable[str]) -> Iterator[str]:
    """Yield ``-v`` and its value for each of `paths` (like ``proc/meminfo``) that runc lets through.

    The CPU tree is bound as one directory.
    """
    for path in bindable(paths):
        yield "-v"
        # Read-only: the files are that anyway, and so an attempt to write says so at once.
        yield f"{mount_point}/{path}:/{path}:ro"


def present_paths() -> tuple[str, ...]:
    """Return our files that this kernel has: what it lacks is neither served nor there to be bound over."""
    from pylxcfs.procfiles.table import NODES_ONLINE, VIRTUAL_FILES  # noqa: PLC0415 - -h should not wait for it

    files = (*VIRTUAL_FILES, NODES_ONLINE)
    return tuple(file.path for file in files if Path("/", file.path).exists())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_mount_point_word(parser)
    parser.add_argument("--json", action="store_true", help="as a JSON list, one element per argument")


def run(arguments: argparse.Namespace) -> int:
    """Print the options on one line, ready for ``docker run $(pylxcfsctl docker-args)``."""
    words = list(docker_arguments(arguments.mount_point, present_paths()))
    write_lines([json.dumps(words) if arguments.json else " ".join(words)])
    return 0
