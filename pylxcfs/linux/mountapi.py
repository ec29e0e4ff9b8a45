"""The kernel's mount calls that Python has no words for, by descriptor wherever the kernel lets one be given.

All raise OSError; ENOSYS where the kernel is older than the version named. The numbers of the newer calls are
the same on every architecture but alpha and mips (include/uapi/asm-generic/unistd.h).

Source: open_tree(2), move_mount(2), mount_setattr(2), openat2(2), setns(2), umount(2), mount(2).
"""

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_OPEN_TREE: Final = 428
_MOVE_MOUNT: Final = 429
_OPENAT2: Final = 437
_MOUNT_SETATTR: Final = 442

# linux/fcntl.h, linux/mount.h, linux/openat2.h, linux/sched.h
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_AT_EMPTY_PATH: Final = 0x1000
_OPEN_TREE_CLONE: Final = 1
_MOVE_MOUNT_F_EMPTY_PATH: Final = 0x04
_MOVE_MOUNT_T_EMPTY_PATH: Final = 0x40
_RESOLVE_NO_MAGICLINKS: Final = 0x02
_RESOLVE_NO_SYMLINKS: Final = 0x04
_RESOLVE_BENEATH: Final = 0x08
_CLONE_NEWNS: Final = 0x00020000
_MS_PRIVATE: Final = 1 << 18

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
#: What a bind of ours is always given. MOUNT_ATTR_* (linux/mount.h) have the values of these MS_*.
CLOSED: Final = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
MNT_DETACH: Final = 2
UMOUNT_NOFOLLOW: Final = 8


class _OpenHow(ctypes.Structure):
    """Struct open_how."""

    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class _MountAttr(ctypes.Structure):
    """Struct mount_attr."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def clone_mount(directory_fd: int, path: str) -> int:
    """Return a detached bind of `path` below a directory, as ``mount --bind`` would attach it (Linux 5.2).

    A last component that is a symbolic link is not followed. The file system is asked for the path, so this
    waits while its server hangs. Closing the descriptor before it is attached leaves nothing.
    """
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_SYMLINK_NOFOLLOW | (0 if path else _AT_EMPTY_PATH)
    return _check(_LIBC.syscall(_OPEN_TREE, directory_fd, os.fsencode(path), flags))


def close_and_make_private(mount_fd: int) -> None:
    """Give a mount the attributes `CLOSED`, and let it take part in no propagation (Linux 5.12)."""
    attributes = _MountAttr(attr_set=CLOSED, propagation=_MS_PRIVATE)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    _check(_LIBC.syscall(_MOUNT_SETATTR, mount_fd, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size))


def can_close_mounts() -> bool:
    """Tell whether the kernel has mount_setattr(2), the newest of these calls (Linux 5.12)."""
    return _LIBC.syscall(_MOUNT_SETATTR, -1, b"", _AT_EMPTY_PATH, None, ctypes.c_size_t(0)) == 0 or (
        ctypes.get_errno() != errno.ENOSYS
    )


def attach(mount_fd: int, target_fd: int) -> None:
    """Attach a detached mount on what `target_fd` (O_PATH) is, in its mount namespace and ours (Linux 5.2).

    EINVAL: the target is in a mount namespace other than the caller's.
    """
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    _check(_LIBC.syscall(_MOVE_MOUNT, mount_fd, b"", target_fd, b"", flags))


def find(directory_fd: int, path: str) -> int:
    """Open (O_PATH) what is below a directory, following no link of any kind (openat2, Linux 5.6).

    ELOOP: a component is a symbolic link. EXDEV: the path leads out of the directory. What is mounted on the
    path is entered, as by any other open.
    """
    how = _OpenHow(
        flags=os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW,
        resolve=_RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS | _RESOLVE_BENEATH,
    )
    size = ctypes.c_size_t(ctypes.sizeof(how))
    return _check(_LIBC.syscall(_OPENAT2, directory_fd, os.fsencode(path), ctypes.byref(how), size))


def enter_mount_namespace(namespace_fd: int) -> None:
    """Move into a mount namespace; root and working directory become its root.

    EINVAL: the process has more than one thread. EPERM: CAP_SYS_ADMIN in the namespace's user namespace,
    or CAP_SYS_CHROOT in our own, is missing.
    """
    _check(_LIBC.setns(namespace_fd, _CLONE_NEWNS))


def unmount(target: str | Path, flags: int) -> None:
    """Unmount (umount2(2)); EINVAL also where the mount is locked by a more privileged namespace."""
    _check(_LIBC.umount2(os.fsencode(target), flags))


def mount(source: str, target: str | Path, fs_type: str, flags: int, data: str) -> None:
    """Mount a file system (mount(2))."""
    words = (os.fsencode(word) for word in (source, target, fs_type))
    _check(_LIBC.mount(*words, ctypes.c_ulong(flags), data.encode()))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
