"""The command line of pylxcfsctl."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from pylxcfs import __version__
from pylxcfs.console import OneLineParser, complain, set_up_logging
from pylxcfs.ctl import (
    cdi,
    detach,
    docker_args,
    doctor,
    explain,
    inject,
    install_runtime,
    probe,
    reattach,
    reload,
    replace_lxcfs,
    show,
    status,
    uninstall_runtime,
)
from pylxcfs.errors import StartupError

_COMMANDS: Final = {
    "show": (show, "print a file as a process or container would see it"),
    "explain": (explain, "tell where each number of a file comes from, for a process or container"),
    "status": (status, "tell what runs, since when, and what it has done"),
    "doctor": (doctor, "look for what is wrong, and say what to do about it"),
    "reload": (reload, "have a server of the installed code take over, and wait until it has"),
    "docker-args": (docker_args, "print the options of docker run that bind our files into a container"),
    "install-runtime": (
        install_runtime,
        "have docker, podman or containerd give our files to new containers",
    ),
    "uninstall-runtime": (uninstall_runtime, "undo install-runtime"),
    "cdi": (cdi, "print the CDI specification for --device pylxcfs.io/proc=all"),
    "reattach": (
        reattach,
        "attach our files in running containers where they are dead or were detached",
    ),
    "detach": (detach, "give running containers the kernel's own files back"),
    "replace-lxcfs": (replace_lxcfs, "take lxcfs' place, without a failed read in a container"),
    "probe": (probe, "tell by the exit status whether the mount answers"),
    "inject": (inject, "give the pods of Kubernetes manifests our files, as the webhook does"),
}


def _build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="pylxcfsctl", description="Looks at pylxcfs from an operator's side.", allow_abbrev=False
    )
    parser.add_argument("-v", "--version", action="version", version=f"pylxcfsctl {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    arguments = _build_parser().parse_args(argv)
    set_up_logging("WARNING", "pylxcfsctl")
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # "pylxcfsctl show meminfo | head -1": nobody reads the rest, nor may the flush at exit complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (LookupError, OSError, StartupError) as error:
        complain("pylxcfsctl", _message(error))
        return 1
    return status


def _message(error: Exception) -> str:
    # str() of a KeyError is the repr of its message.
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return text or type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
