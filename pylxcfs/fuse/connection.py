"""The FUSE connection: /dev/fuse, mount(2) and umount2(2), and what is on the mount point before.

We mount ourselves instead of through libfuse, so that whoever holds the descriptor decides how long the
mount lives, and because ``allow_other`` and a chosen file system type need no fusermount3 for root.

Source: Documentation/filesystems/fuse.rst of the kernel, mount(2), proc_pid_mountinfo(5).
"""

import contextlib
import errno
import logging
import os
import stat
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from pylxcfs.errors import StartupError
from pylxcfs.fuse import device
from pylxcfs.linux import mountapi
from pylxcfs.linux.mountapi import MNT_DETACH, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, UMOUNT_NOFOLLOW
from pylxcfs.linux.mountinfo import Mount, parse_mountinfo

_log = logging.getLogger(__name__)

#: What tools look for to find lxcfs; ours is told apart by its source.
FILE_SYSTEM_TYPE: Final = "fuse.lxcfs"
_MOUNTINFO: Final = "/proc/self/mountinfo"
#: How long a server may take to answer before it counts as hanging.
_ANSWER_SECONDS: Final = 5.0
_REAP_SECONDS: Final = 0.2
#: More dead mounts on one directory than this are not somebody's restarts any more.
_MAX_STACKED: Final = 64

# linux/mount.h
_MS_SYNCHRONOUS: Final = 16
_MS_DIRSYNC: Final = 128
_MS_NOATIME: Final = 1024
_MS_NODIRATIME: Final = 2048
_MS_RELATIME: Final = 1 << 21
_MS_STRICTATIME: Final = 1 << 24

#: What the kernel mounts procfs with, and nothing in our tree needs more.
_ALWAYS_FLAGS: Final = MS_NOSUID | MS_NODEV | MS_NOEXEC
_FLAG_OPTIONS: Final = {
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "sync": _MS_SYNCHRONOUS,
    "dirsync": _MS_DIRSYNC,
    "noatime": _MS_NOATIME,
    "nodiratime": _MS_NODIRATIME,
    "relatime": _MS_RELATIME,
    "strictatime": _MS_STRICTATIME,
}
#: Accepted from lxcfs' users: either how we always mount, or a hint that changes nothing here.
_NO_EFFECT: Final = frozenset(
    {
        *("rw", "async", "atime", "diratime", "auto", "defaults"),
        *("allow_other", "default_permissions", "direct_io", "nonempty"),
        *("async_read", "sync_read", "big_writes", "use_ino", "readdir_ino", "hard_remove"),
    }
)
#: lxcfs overrides them with its own too: ours follow from a tree that never changes.
_IGNORED_VALUES: Final = frozenset({"entry_timeout", "attr_timeout"})
_VALUE_OPTIONS: Final = frozenset({"fsname", "max_read"}) | _IGNORED_VALUES
_REFUSED: Final = frozenset({"suid", "dev", "exec"})
#: The kernel takes 32 bits.
_MAX_READ_DIGITS: Final = 10

#: errno of a FUSE mount whose server is gone, or whose connection was aborted.
_STALE: Final = frozenset({errno.ENOTCONN, errno.ECONNABORTED})
# statfs, not stat: the kernel answers stat from its attribute cache long after the server has died.
_PROBE: Final = """
import os, sys
try:
    os.statvfs(sys.argv[1])
    for name in sys.argv[2:]:
        os.read(os.open(os.path.join(sys.argv[1], name), os.O_RDONLY), 1)
except OSError as error:
    sys.exit(error.errno)
"""


class MountOptions(NamedTuple):
    """Mount options as given with ``-o``; None where the default is left to us or the kernel."""

    source: str = "pylxcfs"
    flags: int = _ALWAYS_FLAGS
    max_read: int | None = None


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


def parse_mount_options(text: str) -> MountOptions:
    """Check a comma separated list of mount options; raises StartupError naming the one that is wrong."""
    flags = _ALWAYS_FLAGS
    values = {"fsname": MountOptions().source}
    for option in filter(None, (word.strip() for word in text.split(","))):
        name, equals, value = option.partition("=")
        if name in _VALUE_OPTIONS:
            if not value:
                raise StartupError(f"mount option {name} needs a value")
            values[name] = value
        elif not equals and name in _REFUSED:
            raise StartupError(f"mount option {name} is not allowed: the tree is always mounted no{name}")
        elif not equals and name in _FLAG_OPTIONS:
            flags |= _FLAG_OPTIONS[name]
        elif equals or name not in _NO_EFFECT:
            raise StartupError(f"unknown mount option: {option}")
    return MountOptions(
        source=values["fsname"],
        flags=flags,
        max_read=_max_read(values.get("max_read")),
    )


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


def ask(path: Path, *files: str, seconds: float = _ANSWER_SECONDS) -> int | None:
    """Return the errno of the file system at `path`, 0 for none; None if it does not answer in time.

    With `files`, relative to `path`, also of reading from them.
    """
    # Only where something is mounted already: it would make up a tenth of the supervisor.
    import subprocess  # noqa: PLC0415

    # In a process of its own: a request that a hanging server has taken cannot be called off, not even by
    # SIGKILL, and whoever waits for it could not exit.
    child = subprocess.Popen([sys.executable, "-ISc", _PROBE, path, *files], stdin=subprocess.DEVNULL)  # noqa: S603 - ours
    try:
        return child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        # Gone at once, unless the server had taken its request.
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_REAP_SECONDS)
        return None


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


def _max_read(text: str | None) -> int | None:
    if text is None or (text.isascii() and text.isdigit() and len(text) <= _MAX_READ_DIGITS):
        return None if text is None else int(text)
    raise StartupError(f"mount option max_read: not a number of bytes: {text}")


def _mount_data(fd: int, options: MountOptions) -> str:
    # allow_other: the readers are other users' processes in other user namespaces. default_permissions: the
    # kernel checks modes itself and asks us nothing.
    data = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions"
    return data if options.max_read is None else f"{data},max_read={options.max_read}"
