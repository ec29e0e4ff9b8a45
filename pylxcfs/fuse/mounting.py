"""The FUSE connection: /dev/fuse, mount(2) and umount2(2), and what is on the mount point before.

We mount ourselves instead of through libfuse, so that whoever holds the descriptor decides how long the
mount lives, and because ``allow_other`` and a chosen file system type need no fusermount3 for root.

Source: Documentation/filesystems/fuse.rst of the kernel, mount(2), proc_pid_mountinfo(5).
"""

import errno
import logging
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pylxcfs.errors import StartupError
from pylxcfs.fuse import device
from pylxcfs.fuse.mount_options import MountOptions
from pylxcfs.fuse.probe import ask
from pylxcfs.linux import mountapi
from pylxcfs.linux.mountapi import MNT_DETACH, UMOUNT_NOFOLLOW
from pylxcfs.linux.mountinfo import Mount, parse_mountinfo

_log = logging.getLogger(__name__)

#: What tools look for to find lxcfs; ours is told apart by its source.
FILE_SYSTEM_TYPE: Final = "fuse.lxcfs"
_MOUNTINFO: Final = "/proc/self/mountinfo"
#: More dead mounts on one directory than this are not somebody's restarts any more.
_MAX_STACKED: Final = 64
#: errno of a FUSE mount whose server is gone, or whose connection was aborted.
_STALE: Final = frozenset({errno.ENOTCONN, errno.ECONNABORTED})


class Connection(NamedTuple):
    """An open /dev/fuse descriptor and the mount that it answers for."""

    fd: int
    mount_point: Path
    #: The mount as the kernel listed it right after it was made.
    mount: Mount

    @property
    def minor(self) -> str:
        """The minor number of the mount's device, as in /sys/fs/fuse/connections."""
        return self.mount.device.partition(":")[2]

    def is_mounted(self) -> bool:
        """Tell whether the mount is still what is seen at its place, alive or dead."""
        top = mount_at(self.mount_point)
        # Mount ids and device numbers are used again by the kernel, hardly both for the same directory.
        return top is not None and (top.mount_id, top.device) == (self.mount.mount_id, self.mount.device)

    def unmount(self) -> bool:
        """Unmount, lazily while files are open; False if the mount is gone or covered by another one.

        The descriptor stays open: it belongs to the session that serves it.
        """
        if not self.is_mounted():
            return False
        try:
            mountapi.unmount(self.mount_point, UMOUNT_NOFOLLOW)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            mountapi.unmount(self.mount_point, UMOUNT_NOFOLLOW | MNT_DETACH)
        return True


def topmost(mounts: Iterable[Mount], mount_point: Path) -> Mount | None:
    """Return the mount that is seen at `mount_point`: of stacked ones, the one with none on top."""
    here = [mount for mount in mounts if mount.mount_point == mount_point]
    covered = {mount.parent_id for mount in here}
    return next((mount for mount in here if mount.mount_id not in covered), None)


def mount_at(path: Path) -> Mount | None:
    """Return the mount that is seen at `path`, a path without symbolic links; None if nothing is mounted."""
    return topmost(parse_mountinfo(Path(_MOUNTINFO).read_bytes()), path)


def find_mount(path: Path) -> Mount | None:
    """Return the mount that is seen at `path`, symbolic links or not; None also where there is no path."""
    try:
        return mount_at(_real(path))
    except StartupError:
        return None


def minor_at(path: Path) -> str | None:
    """Return the minor number of the device of the mount at `path`, None if there is no such."""
    top = find_mount(path)
    return None if top is None else top.device.partition(":")[2]


def prepare_mount_point(path: Path) -> None:
    """Make `path` fit to be mounted on, or raise StartupError; dead mounts on it are taken away."""
    real = _real(path)
    _clear_fuse_mounts(path, real)
    try:
        mode = real.stat().st_mode
        occupied = stat.S_ISDIR(mode) and any(real.iterdir())
    except OSError as error:
        raise StartupError(f"mount point {path}: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        raise StartupError(f"mount point {path} is not a directory")
    if occupied:
        # docker makes directories for binds whose source is not there yet.
        _log.warning("mount point %s is not empty; mounting over what is there", path)


def open_connection(path: Path, options: MountOptions) -> Connection:
    """Open /dev/fuse and mount it on `path`; raises StartupError.

    From here until somebody serves the descriptor, every access to the mount waits.
    """
    real = _real(path)
    try:
        fd = device.open_device()
    except OSError as error:
        raise StartupError(
            f"cannot open {device.PATH}: {error.strerror} (module fuse not loaded, or device not allowed?)"
        ) from error
    try:
        mountapi.mount(options.source, real, FILE_SYSTEM_TYPE, options.flags, _mount_data(fd, options))
    except OSError as error:
        os.close(fd)
        raise StartupError(f"cannot mount on {path}: {error.strerror}") from error
    mount = mount_at(real)
    if mount is None or mount.source != options.source:
        # Covered or unmounted at once by somebody else. Closing the descriptor leaves nothing that hangs.
        os.close(fd)
        raise StartupError(f"the mount on {path} was replaced by another one in the same moment")
    return Connection(fd, real, mount)


def find_connection(path: Path, descriptors: Mapping[str, int]) -> Connection | None:
    """Return the connection of the mount at `path`, if its descriptor is among those that somebody has kept.

    `descriptors` are by the minor number of their mounts' devices; those of other mounts are closed.
    """
    real = _real(path) if descriptors else path
    top = mount_at(real) if descriptors else None
    found = None
    for minor, fd in descriptors.items():
        if top is not None and top.device == f"0:{minor}" and device.is_connected(fd):
            found = Connection(fd, real, top)
        else:
            os.close(fd)
    return found


def _clear_fuse_mounts(path: Path, real: Path) -> None:
    """Take stale FUSE mounts away from the top; raise StartupError at one that is alive."""
    for _ in range(_MAX_STACKED):
        top = mount_at(real)
        if top is None or not top.fs_type.startswith("fuse"):
            return
        status = ask(real)
        if status in _STALE:
            _log.warning("mount point %s has a stale mount of %s; unmounting it", path, top.source)
            try:
                mountapi.unmount(real, UMOUNT_NOFOLLOW | MNT_DETACH)
            except OSError as error:
                raise StartupError(f"cannot unmount the stale mount on {path}: {error.strerror}") from error
        elif status is None:
            raise StartupError(f"mount point {path} is already served by {top.source}, which does not answer")
        elif top.fs_type == FILE_SYSTEM_TYPE:
            raise StartupError(f"mount point {path} is already served by {top.source}")
        else:
            return
    raise StartupError(f"mount point {path} has more than {_MAX_STACKED} stale mounts")


def _real(path: Path) -> Path:
    """Return `path` without symbolic links, as mountinfo and UMOUNT_NOFOLLOW want it; raises StartupError."""
    # Not os.path.realpath: its lstat asks the server of what is mounted there, which may be dead or hanging.
    # Opening with O_PATH asks nobody.
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise StartupError(f"mount point {path} does not exist") from error
    except OSError as error:
        raise StartupError(f"mount point {path}: {error.strerror}") from error
    try:
        return Path(f"/proc/self/fd/{fd}").readlink()
    finally:
        os.close(fd)


def _mount_data(fd: int, options: MountOptions) -> str:
    # allow_other: the readers are other users' processes in other user namespaces. Not default_permissions:
    # with it the kernel asks for attributes at each open (fuse/permissions.py).
    data = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other"
    return data if options.max_read is None else f"{data},max_read={options.max_read}"
