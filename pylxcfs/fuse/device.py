"""What can be done with a /dev/fuse descriptor besides serving it (fs/fuse/dev.c of the kernel)."""

import errno
import fcntl
import os
import select
from typing import Final

from pylxcfs.fuse.frames import RESEND

#: _IOR(229, 0, u32), include/uapi/linux/fuse.h, since Linux 4.2.
_FUSE_DEV_IOC_CLONE: Final = 0x8004E500
PATH: Final = "/dev/fuse"


def open_device() -> int:
    """Open a descriptor that does not block and that no connection belongs to yet; raises OSError."""
    return os.open(PATH, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)


def clone(fd: int) -> int:
    """Open another descriptor of the same connection; raises OSError.

    What was taken through it and not answered fails with ECONNABORTED when its last holder closes it.
    """
    cloned = open_device()
    try:
        fcntl.ioctl(cloned, _FUSE_DEV_IOC_CLONE, fd.to_bytes(4, "little"))
    except OSError:
        os.close(cloned)
        raise
    return cloned


def is_connected(fd: int) -> bool:
    """Tell whether the file system is still mounted somewhere and was not aborted."""
    poller = select.poll()
    poller.register(fd, 0)
    return not poller.poll(0)


def resend(fd: int) -> bool:
    """Have everything sent again that was taken and not answered; False before Linux 6.9, which cannot."""
    try:
        os.write(fd, RESEND)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False
    return True
