"""``python -m pylxcfs.reattach.abandon MINOR ARGUMENTS…``: what a holder does when nobody has come to serve.

MINOR is of the device of the mount that the holder keeps, ARGUMENTS are those of the daemon that has made it.
"""

import logging
import sys
import time
from collections.abc import Sequence
from typing import Final

from pylxcfs import mountapi
from pylxcfs.cli import parse_arguments, set_up_logging
from pylxcfs.errors import StartupError
from pylxcfs.fuse.connection import mount_at, parse_mount_options
from pylxcfs.mountapi import MNT_DETACH, UMOUNT_NOFOLLOW
from pylxcfs.reattach.actions import Request, detach

_log: Final = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Give containers the kernel's own files back, then unmount."""
    minor, *arguments = sys.argv[1:] if argv is None else argv
    config = parse_arguments(arguments)
    set_up_logging(config.log_level)
    began = time.monotonic()
    request = Request(
        mount_point=config.mount_point,
        runtime_dir=config.runtime_dir,
        source=parse_mount_options(",".join(config.mount_options)).source,
        proc_root=config.proc_root,
    )
    troubles = []
    try:
        outcomes = detach(request)
        troubles = [outcome for outcome in outcomes if outcome.is_trouble]
        _log.info("%d binds, %d left, in %.2f s", len(outcomes), len(troubles), time.monotonic() - began)
    except (StartupError, OSError) as error:
        _log.error("binds in running containers are left as they are: %s", error)
    top = mount_at(config.mount_point)
    if top is not None and top.device == f"0:{minor}":
        mountapi.unmount(config.mount_point, UMOUNT_NOFOLLOW | MNT_DETACH)
        _log.info("unmounted %s", config.mount_point)
    return int(bool(troubles))


if __name__ == "__main__":
    sys.exit(main())
