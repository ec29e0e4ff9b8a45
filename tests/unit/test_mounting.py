"""Mount options, mountinfo, and what is said about a mount point; nothing is mounted here."""

import errno
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.errors import StartupError
from pylxcfs.fuse.mount_options import MountOptions, parse_mount_options
from pylxcfs.fuse.mounting import (
    Connection,
    find_connection,
    mount_at,
    open_connection,
    prepare_mount_point,
    topmost,
)
from pylxcfs.linux.mountinfo import Mount, parse_mountinfo

MS_NOSUID_NODEV_NOEXEC = 2 | 4 | 8

#: proc_pid_mountinfo(5), and lines of a host with lxcfs; blanks and a backslash are escaped.
MOUNTINFO = rb"""22 27 0:21 / /proc rw,relatime - proc proc rw
36 27 98:0 /mnt1 /mnt\0402\134x rw,noatime master:1 propagate_from:2 - ext3 /dev/root rw,errors=continue
41 27 0:38 / /var/lib/lxcfs rw,nosuid,nodev,relatime shared:9 - fuse.lxcfs lxcfs rw,user_id=0,allow_other
57 41 0:44 / /var/lib/lxcfs rw,nosuid,nodev,noexec - fuse.lxcfs pylxcfs rw,user_id=0,allow_other
"""


@pytest.mark.parametrize(
    "text", ["", ",", "allow_other", "allow_other,direct_io,nonempty,default_permissions", "rw"]
)
def test_usual_options_mean_the_defaults(text: str) -> None:
    """What lxcfs' users write is how we mount anyway."""
    assert parse_mount_options(text) == MountOptions()
    assert MountOptions().flags == MS_NOSUID_NODEV_NOEXEC


def test_values() -> None:
    """Options with values end in their fields."""
    assert parse_mount_options("entry_timeout=0.5,attr_timeout=3,fsname=a=b,max_read=4096") == MountOptions(
        source="a=b", max_read=4096
    )


def test_flags_are_added() -> None:
    """Flags come on top of those that are always set."""
    assert parse_mount_options("ro,noatime").flags == MS_NOSUID_NODEV_NOEXEC | 1 | 1024


@pytest.mark.parametrize(
    "option,flag",
    [
        ("ro", 1),
        ("nosuid", 2),
        ("nodev", 4),
        ("noexec", 8),
        ("sync", 16),
        ("dirsync", 128),
        ("noatime", 1024),
        ("nodiratime", 2048),
        ("relatime", 0x200000),
        ("strictatime", 0x1000000),
    ],
)
def test_flags_are_the_kernels(option: str, flag: int) -> None:
    """Each option is the bit that mount(2) takes for it (linux/mount.h)."""
    assert parse_mount_options(option).flags == MS_NOSUID_NODEV_NOEXEC | flag


@pytest.mark.parametrize("digits,is_taken", [(10, True), (11, False)])
def test_longest_max_read(digits: int, *, is_taken: bool) -> None:
    """A number of 32 bits has ten digits at most."""
    if is_taken:
        assert parse_mount_options("max_read=" + "4" * digits).max_read == int("4" * digits)
    else:
        with pytest.raises(StartupError, match="max_read"):
            parse_mount_options("max_read=" + "4" * digits)


def test_last_value_counts() -> None:
    """A later value replaces an earlier one."""
    assert parse_mount_options("max_read=1,max_read=2").max_read == 2


@pytest.mark.parametrize(
    "option,words",
    [
        ("colour", "unknown mount option: colour"),
        ("allow_other=1", "unknown mount option: allow_other=1"),
        ("suid=1", "unknown mount option: suid=1"),
        ("suid", "suid is not allowed"),
        ("dev", "dev is not allowed"),
        ("exec", "exec is not allowed"),
        ("entry_timeout", "entry_timeout needs a value"),
        ("fsname=", "fsname needs a value"),
        ("subtype=x", "unknown mount option: subtype=x"),
        ("max_read=-1", "max_read: .* -1"),
        ("max_read=1.5", "max_read: .* 1.5"),
    ],
)
def test_wrong_option_is_named(option: str, words: str) -> None:
    """An option that is wrong is refused by name, also among good ones."""
    with pytest.raises(StartupError, match=words):
        parse_mount_options(f"allow_other,{option},rw")


@given(st.text())
def test_any_text_is_options_or_a_startup_error(text: str) -> None:
    """No text ends in a traceback."""
    try:
        options = parse_mount_options(text)
    except StartupError:
        return
    assert options.flags & MS_NOSUID_NODEV_NOEXEC == MS_NOSUID_NODEV_NOEXEC


def test_mountinfo_fields() -> None:
    """Escapes are undone, and peer groups are found among the optional fields."""
    mounts = parse_mountinfo(MOUNTINFO)
    assert mounts[0] == Mount(22, 27, "0:21", "/", "/proc", "proc", "proc", "rw")
    assert mounts[1] == Mount(
        36, 27, "98:0", "/mnt1", "/mnt 2\\x", "ext3", "/dev/root", "rw,errors=continue", master=1
    )
    assert (mounts[2].shared, mounts[2].master) == (9, None)


@pytest.mark.parametrize(
    "line",
    [
        b"x 35 98:0 / / rw - ext3 /dev/root rw",
        b"36 35 98:0 /\\777 / rw - ext3 /dev/root rw",
        b"36 35 \xff / / rw - ext3 /dev/root rw",
        b"36 35 98:0 / / rw shared:x - ext3 /dev/root rw",
        b"36 35 98:0 / / rw",
        b"\r",
    ],
)
def test_damaged_mountinfo(line: bytes) -> None:
    """A line that is none is left out, and the others are not."""
    whole = b"7 1 0:5 / /proc rw - proc proc rw\n"
    assert [7] == [mount.mount_id for mount in parse_mountinfo(line + b"\n" + whole)]


def test_topmost_of_stacked_mounts() -> None:
    """Of two mounts on one directory the one on top is seen, wherever it is listed."""
    mounts = parse_mountinfo(MOUNTINFO)
    for listing in (mounts, mounts[::-1]):
        top = topmost(listing, Path("/var/lib/lxcfs"))
        assert top is not None
        assert (top.mount_id, top.source) == (57, "pylxcfs")
    assert topmost(mounts, Path("/var/lib")) is None


def test_own_mountinfo() -> None:
    """The running kernel's mountinfo can be read: /proc is a procfs."""
    proc = mount_at(Path("/proc"))
    assert proc is not None
    assert proc.fs_type == "proc"


def test_empty_directory_is_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An empty directory is mounted on without a word."""
    prepare_mount_point(tmp_path)
    assert caplog.records == []


def test_non_empty_directory_is_fit_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory with something in it is mounted over, and that is said."""
    (tmp_path / "proc").mkdir()
    prepare_mount_point(tmp_path)
    assert [(record.levelno, "is not empty" in record.message) for record in caplog.records] == [
        (logging.WARNING, True)
    ]


def test_missing_mount_point(tmp_path: Path) -> None:
    """A mount point that does not exist is named."""
    with pytest.raises(StartupError, match=f"mount point {tmp_path}/x does not exist"):
        prepare_mount_point(tmp_path / "x")


def test_mount_point_that_is_a_file(tmp_path: Path) -> None:
    """A file is no mount point."""
    (tmp_path / "x").touch()
    with pytest.raises(StartupError, match="x is not a directory"):
        prepare_mount_point(tmp_path / "x")


def test_mount_point_below_a_file(tmp_path: Path) -> None:
    """Other errors of the path keep the kernel's words."""
    (tmp_path / "x").touch()
    with pytest.raises(StartupError, match="Not a directory"):
        prepare_mount_point(tmp_path / "x" / "y")


def test_no_descriptor_leaks_when_mounting_fails(tmp_path: Path) -> None:
    """A mount that fails is a startup error and closes what was opened."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(StartupError):
        open_connection(tmp_path / "x", MountOptions())
    assert os.listdir("/proc/self/fd") == before


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Path, dict[str, int]]:
    """Return a link to a directory where mount 0:38 is on top, and descriptors of mounts 38 and 39."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    line = b"41 27 0:38 / %b rw shared:9 - fuse.lxcfs pylxcfs rw\n" % bytes(tmp_path / "real")
    (tmp_path / "mountinfo").write_bytes(line)
    monkeypatch.setattr("pylxcfs.fuse.mounting._MOUNTINFO", str(tmp_path / "mountinfo"))
    monkeypatch.setattr("pylxcfs.fuse.device.is_connected", lambda _fd: True)
    return tmp_path / "link", {
        "38": os.open("/dev/null", os.O_RDONLY),
        "39": os.open("/dev/null", os.O_RDONLY),
    }


def _is_open(fd: int) -> bool:
    return Path(f"/proc/self/fd/{fd}").exists()


@pytest.mark.parametrize("minors", [("38", "39"), ("39", "38")])
def test_connection_that_somebody_has_kept(
    kept: tuple[Path, dict[str, int]], minors: tuple[str, str]
) -> None:
    """It is found by its device; what was kept of other mounts is closed."""
    path, fds = kept
    connection = find_connection(path, {minor: fds[minor] for minor in minors})
    assert connection is not None
    assert (fds["38"], path.resolve(), "38") == (connection.fd, connection.mount_point, connection.minor)
    assert connection.is_mounted()
    assert (True, False) == (_is_open(fds["38"]), _is_open(fds["39"]))
    os.close(fds["38"])


@pytest.mark.parametrize("number,device", [(41, "0:39"), (42, "0:38")])
def test_another_mount_in_its_place(kept: tuple[Path, dict[str, int]], number: int, device: str) -> None:
    """One with the same mount id or the same device is another one all the same."""
    mount_point = kept[0].resolve()
    mount = mount_at(mount_point)
    assert mount is not None
    assert Connection(-1, mount_point, mount).is_mounted()
    assert not Connection(-1, mount_point, mount._replace(mount_id=number, device=device)).is_mounted()
    assert not Connection(-1, Path("/"), mount).is_mounted()


@pytest.mark.parametrize("is_busy", [False, True])
def test_unmounting(
    kept: tuple[Path, dict[str, int]], monkeypatch: pytest.MonkeyPatch, *, is_busy: bool
) -> None:
    """No link is followed; lazily only where files are open."""
    mount_point = kept[0].resolve()
    mount = mount_at(mount_point)
    assert mount is not None
    calls: list[tuple[Path, int]] = []

    def unmount(target: Path, flags: int) -> None:
        calls.append((target, flags))
        if is_busy and len(calls) == 1:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr("pylxcfs.linux.mountapi.unmount", unmount)
    assert Connection(-1, mount_point, mount).unmount()
    # UMOUNT_NOFOLLOW and MNT_DETACH of umount2(2).
    assert [(mount_point, 8), (mount_point, 8 | 2)][: 1 + is_busy] == calls
    assert not Connection(-1, mount_point, mount._replace(mount_id=1)).unmount()
    assert 1 + is_busy == len(calls)


def test_nothing_kept_for_this_mount(
    kept: tuple[Path, dict[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is of other mounts, or was aborted, is closed; without anything kept nobody looks at the path."""
    path, fds = kept
    assert find_connection(path, {"39": fds["39"]}) is None
    monkeypatch.setattr("pylxcfs.fuse.device.is_connected", lambda _fd: False)
    assert find_connection(path, {"38": fds["38"]}) is None
    assert not any(map(_is_open, fds.values()))
    assert find_connection(Path("/nonexistent"), {}) is None
