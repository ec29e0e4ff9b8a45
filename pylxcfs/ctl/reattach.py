"""``pylxcfsctl reattach``: our files in running containers again, or for the first time."""

import argparse

from pylxcfs.ctl import binds
from pylxcfs.ctl.docker_args import present_paths
from pylxcfs.procfiles.binds import bindable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    binds.add_arguments(parser)
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="also replace binds that another server answers for, lxcfs included",
    )


def run(arguments: argparse.Namespace) -> int:
    """Attach dead and detached binds, and in a container that is named all files that it has none of."""
    from pylxcfs.reattach.actions import reattach  # noqa: PLC0415

    one = arguments.container is not None or arguments.pid is not None
    files = bindable(present_paths()) if one else ()
    request = binds.request_of(arguments)
    return binds.run_and_print(lambda: reattach(request, files), as_json=arguments.json)
