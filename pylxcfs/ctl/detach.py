"""``pylxcfsctl detach``: the kernel's own files in running containers again."""

import argparse

from pylxcfs.ctl import binds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    binds.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Take our binds away, alive and dead; the next start, or reattach, attaches them again."""
    from pylxcfs.reattach.actions import detach  # noqa: PLC0415 - -h should not wait for it

    request = binds.request_of(arguments)
    return binds.run_and_print(lambda: detach(request, asks=True), as_json=arguments.json)
