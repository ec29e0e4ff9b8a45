"""``pylxcfsctl cdi``: the CDI specification, for ``--device pylxcfs.io/proc=all``."""

import argparse
import json
from pathlib import Path

from pylxcfs.console import write_lines
from pylxcfs.ctl.options import add_mount_point_word


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    add_mount_point_word(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=Path,
        help="write it there instead of to standard output; podman and docker read /etc/cdi/*.json",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the document, or write it."""
    from pylxcfs.ctl.docker_args import present_paths  # noqa: PLC0415 - -h should not wait for it
    from pylxcfs.rundir.files import READABLE, replace_file  # noqa: PLC0415
    from pylxcfs.runtime.cdi import specification  # noqa: PLC0415

    text = json.dumps(specification(arguments.mount_point, present_paths()), indent=2)
    if arguments.output is None:
        write_lines(text.splitlines())
    else:
        arguments.output.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(arguments.output, f"{text}\n".encode(), READABLE)
    return 0
