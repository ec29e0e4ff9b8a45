"""The options by which an operator names a daemon."""

import argparse
from pathlib import Path, PurePosixPath

from pylxcfs.config import DEFAULT_RUNTIME_DIR
from pylxcfs.procfiles.binds import DEFAULT_MOUNT_POINT


def add_mount_point(parser: argparse.ArgumentParser) -> None:
    """Declare ``--mount-point``."""
    parser.add_argument(
        "--mount-point",
        metavar="DIR",
        type=Path,
        default=Path(DEFAULT_MOUNT_POINT),
        help="where pylxcfs serves (default: %(default)s)",
    )


def add_mount_point_word(parser: argparse.ArgumentParser) -> None:
    """Declare ``--mount-point`` for what writes it into the configuration of others."""
    parser.add_argument(
        "--mount-point",
        metavar="DIR",
        type=_mount_point_word,
        default=DEFAULT_MOUNT_POINT,
        help="where pylxcfs serves (default: %(default)s)",
    )


def add_runtime_dir(parser: argparse.ArgumentParser, purpose: str = "") -> None:
    """Declare ``--runtime-dir``."""
    parser.add_argument(
        "--runtime-dir",
        metavar="DIR",
        type=Path,
        default=DEFAULT_RUNTIME_DIR,
        help=f"the daemon's --runtime-dir{purpose} (default: %(default)s)",
    )


def add_fsname(parser: argparse.ArgumentParser) -> None:
    """Declare ``--fsname``."""
    parser.add_argument(
        "--fsname",
        metavar="NAME",
        help="what the binds' file system is called, if it was mounted with -o fsname=NAME "
        "(default: as the one on the mount point)",
    )


def _mount_point_word(text: str) -> str:
    """Check the option's value: docker splits at colons, the shell at blanks; neither knows an escape."""
    if not text.startswith("/") or ":" in text or any(map(str.isspace, text)):
        raise argparse.ArgumentTypeError(f"not an absolute path without blanks and colons: {text!r}")
    return str(PurePosixPath(text))
