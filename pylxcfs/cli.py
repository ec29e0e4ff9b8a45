"""The daemon's command line: lxcfs' options and ours, checked into a `Config`.

The name ``pylxcfs.cli`` stays: servers whose supervisor has died, and holders, of earlier versions start this
code as ``python -m pylxcfs.cli ARGUMENTS…``.
"""

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pylxcfs import __version__
from pylxcfs.config import (
    DEFAULT_CACHE_TTL_SECONDS,
    DEFAULT_MAX_MEMORY,
    DEFAULT_RUNTIME_DIR,
    Config,
    ViewConfig,
)
from pylxcfs.console import OneLineParser, complain, set_up_logging
from pylxcfs.errors import StartupError
from pylxcfs.fuse.mount_options import parse_mount_options
from pylxcfs.supervision.start import run

_LOG_LEVELS: Final = ("debug", "info", "warning", "error")

#: lxcfs options that ask for what is the default here.
_ALREADY_DEFAULT: Final = (
    ("-f", "--foreground"),
    ("--enable-cfs",),
    ("-l", "--enable-loadavg"),
    ("--enable-pidfd",),
    ("-s",),
)


def _seconds(text: str) -> float:
    """Convert an option's value to a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"not a number of seconds (0 or more): {text!r}")
    return value


def _mebibytes(text: str) -> int:
    """Convert an option's value in MiB to bytes."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"not a number of MiB (1 or more): {text!r}")
    return int(text) << 20


def _path(text: str) -> Path:
    """Convert an option's value to an absolute path, whatever becomes of the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path")
    return Path(text).absolute()


def _build_parser() -> OneLineParser:
    parser = OneLineParser(
        prog="pylxcfs",
        usage="%(prog)s [options] MOUNTPOINT",
        description="Serves /proc files that tell a container about itself instead of about its host.",
        allow_abbrev=False,
    )
    # Any number here, so that the check below can say what is wrong in words.
    parser.add_argument(
        "mount_points", metavar="MOUNTPOINT", nargs="*", type=_path, help="an existing directory"
    )
    parser.add_argument(
        "--disable-cfs", action="store_true", help="do not show a CPU quota as that many CPUs"
    )
    parser.add_argument("--disable-loadavg", action="store_true", help="show the host's load averages")
    parser.add_argument("-u", "--disable-swap", action="store_true", help="show containers no swap")
    parser.add_argument("--disable-zswap", action="store_true", help="show containers no compressed swap")
    parser.add_argument(
        "--memory-high", action="store_true", help="count memory.high (cgroup v2) as a memory limit too"
    )
    parser.add_argument(
        "--cpu-numbering",
        choices=("kernel", "compact"),
        default="kernel",
        help="compact: number a container's CPUs 0, 1, ... in stat, cpuinfo and the CPU tree; taskset, "
        "sched_getaffinity and ps -o psr keep the kernel's numbers, so programs that pin threads to CPUs by "
        "what these files say fail or pin to others (default: %(default)s)",
    )
    parser.add_argument(
        "--enable-psi-poll", action="store_true", help="let containers set triggers on proc/pressure/*"
    )
    parser.add_argument(
        "--disable-reattach",
        action="store_true",
        help="leave the binds in running containers alone when mounting and unmounting",
    )
    parser.add_argument(
        "-o",
        dest="mount_options",
        metavar="OPTS",
        action="append",
        default=[],
        help="FUSE mount options, comma separated; may be repeated",
    )
    parser.add_argument(
        "-p",
        "--pidfile",
        metavar="FILE",
        type=_path,
        help="where to write the process id (default: pylxcfs.pid in the runtime directory)",
    )
    parser.add_argument(
        "--runtime-dir",
        metavar="DIR",
        type=_path,
        default=DEFAULT_RUNTIME_DIR,
        help="directory for files of the running daemon (default: %(default)s)",
    )
    parser.add_argument(
        "--cache-ttl",
        metavar="SECONDS",
        type=_seconds,
        default=DEFAULT_CACHE_TTL_SECONDS,
        help="how long content may be served again; 0 renders every time (default: %(default)s)",
    )
    parser.add_argument(
        "--hold",
        metavar="SECONDS",
        type=_seconds,
        default=0.0,
        help="in a container: keep the mount for the next one for so long, however this one ends",
    )
    # A holder's last resort; no operator has use for it.
    parser.add_argument("--leave", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--max-memory",
        metavar="MIB",
        type=_mebibytes,
        default=DEFAULT_MAX_MEMORY,
        help=f"replace a server that has more memory (default: {DEFAULT_MAX_MEMORY >> 20})",
    )
    parser.add_argument("--log-level", choices=_LOG_LEVELS, default="info", help="default: %(default)s")
    parser.add_argument(
        "-d",
        "--debug",
        dest="log_level",
        action="store_const",
        const="debug",
        help="the same as --log-level debug",
    )
    parser.add_argument("-v", "--version", action="version", version=f"pylxcfs {__version__}")
    for flags in _ALREADY_DEFAULT:
        parser.add_argument(*flags, dest="already_default", action="store_true", help=argparse.SUPPRESS)
    return parser


def parse_arguments(argv: Sequence[str] | None = None) -> Config:
    """Check the command line; return what it asks for.

    Raises SystemExit for ``-h``, ``-v`` and wrong usage.
    """
    parser = _build_parser()
    # Intermixed: lxcfs' users put the mount point first, last and in the middle.
    arguments = parser.parse_intermixed_args(argv)
    if not arguments.mount_points:
        parser.error("no mount point given (see pylxcfs --help)")
    if len(arguments.mount_points) > 1:
        parser.error(f"more than one mount point given: {' '.join(map(str, arguments.mount_points))}")
    mount_options = ",".join(arguments.mount_options)
    try:
        parse_mount_options(mount_options)
    except StartupError as error:
        parser.error(str(error))
    return Config(
        mount_point=arguments.mount_points[0],
        view=ViewConfig(
            cfs=not arguments.disable_cfs,
            loadavg=not arguments.disable_loadavg,
            swap=not arguments.disable_swap,
            zswap=not arguments.disable_zswap,
            memory_high=arguments.memory_high,
            compact_cpus=arguments.cpu_numbering == "compact",
            cache_ttl_seconds=arguments.cache_ttl,
        ),
        mount_options=tuple(filter(None, mount_options.split(","))),
        runtime_dir=arguments.runtime_dir,
        pidfile=arguments.pidfile,
        log_level=arguments.log_level.upper(),
        max_memory=arguments.max_memory,
        psi_poll=arguments.enable_psi_poll,
        reattach=not arguments.disable_reattach,
        hold_seconds=arguments.hold,
        leave=arguments.leave,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; return its exit status."""
    try:
        config = parse_arguments(argv)
        if os.geteuid() != 0:
            raise StartupError("must be run as root: mounting and reading other processes' cgroups need it")
        set_up_logging(config.log_level)
        return run(config, sys.argv[1:] if argv is None else argv)
    except StartupError as error:
        complain("pylxcfs", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
