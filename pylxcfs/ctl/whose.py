"""The options that name a container, the same in every command that takes one, and the process they mean."""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def add_container(parser: argparse.ArgumentParser, pid_help: str) -> None:
    """Declare ``--container`` and ``--pid``, of which only one may be given."""
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--pid", metavar="P", type=_pid, help=pid_help)
    whose.add_argument(
        "--container",
        metavar="WHICH",
        help="a container: its id (the beginning is enough), SCHEME://ID, its name in docker, podman, "
        "nerdctl, LXC or Incus (in Kubernetes also POD/NAME, NAMESPACE/POD/NAME), its cgroup, or a process",
    )


@contextmanager
def asked_process(arguments: argparse.Namespace) -> Iterator[int]:
    """Give the pid of the process that is meant: of `add_container`'s options, or the calling one.

    Raises LookupError if there is none, and at the end if it has ended meanwhile: what was found out is then
    nobody's, or another's who has its number now.
    """
    # Late: -h and usage errors should not wait for them.
    from pylxcfs.cgroup.types import ParseError  # noqa: PLC0415
    from pylxcfs.containers.processes import PROCESS_GONE, Processes  # noqa: PLC0415

    if arguments.container is not None:
        pid, began = _process_of(arguments.container)
    else:
        # The parent is the caller's shell. It is 0 if it lives outside of our pid namespace (docker exec).
        pid, began = arguments.pid or os.getppid() or os.getpid(), None
    proc_fd = os.open(_PROC, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with Processes(proc_fd).hold(pid) as process:
            if began is not None and process.start_ticks() != began:
                raise LookupError(f"the container {arguments.container!r} has just ended")
            with process.living() as thread:
                yield thread.number()
                thread.start_ticks()
    except (*PROCESS_GONE, ParseError):
        raise LookupError(f"no such process: {pid}") from None
    finally:
        os.close(proc_fd)


def _process_of(word: str) -> tuple[int, int]:
    """Return the oldest process of a container, and when it began."""
    from pylxcfs.containers.lookup import Lookup  # noqa: PLC0415
    from pylxcfs.reattach.namespaces import list_namespaces  # noqa: PLC0415

    namespaces = [namespace for namespace in list_namespaces(_PROC) if not namespace.is_hosts]
    with Lookup(_PROC) as lookup:
        chosen = lookup.choose(word, namespaces)
    oldest = min(chosen, key=lambda namespace: namespace.start_ticks)
    return oldest.pid, oldest.start_ticks


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"not a process id: {text!r}")
    return int(text)
