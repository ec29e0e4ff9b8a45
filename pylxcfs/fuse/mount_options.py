"""The mount options of ``-o``: lxcfs' and ours, checked (mount(8), mount(2)). Pure."""

from typing import Final, NamedTuple

from pylxcfs.errors import StartupError
from pylxcfs.linux.mountapi import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY

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


class MountOptions(NamedTuple):
    """Mount options as given with ``-o``; None where the default is left to us or the kernel."""

    source: str = "pylxcfs"
    flags: int = _ALWAYS_FLAGS
    max_read: int | None = None


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


def _max_read(text: str | None) -> int | None:
    if text is None or (text.isascii() and text.isdigit() and len(text) <= _MAX_READ_DIGITS):
        return None if text is None else int(text)
    raise StartupError(f"mount option max_read: not a number of bytes: {text}")
