"""The CPU tree: the lists as they are rendered, and the host's entries as the handlers answer for them."""

import errno
import os
import stat
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import pyfuse3
import pytest

from pylxcfs.cgroup.types import CpuSet
from pylxcfs.containers import Container
from pylxcfs.content import ContentService
from pylxcfs.fuse import hostnodes
from pylxcfs.fuse.filesystem import FileSystem
from pylxcfs.fuse.tree import Tree, build_nodes
from pylxcfs.host import HostSnapshot
from pylxcfs.hosttree import HostReadError, HostTree
from pylxcfs.procfiles.table import CPU_DIRECTORY, VIRTUAL_FILES, VirtualFile
from pylxcfs.sysfiles import cpulists
from pylxcfs.view import CpuTimes, CpuView, ResourceView

T = TypeVar("T")

HOST, ONE, TWO = 1, 2, 3
#: Who sees what; None is the host.
VISIBLE = {HOST: None, ONE: CpuSet([1]), TWO: CpuSet([0, 10])}
LISTS = {file.path.rpartition("/")[2] for file in VIRTUAL_FILES if file.path.startswith("sys/")}


@pytest.mark.parametrize(
    "cpus, text", [((0,), b"0\n"), ((1, 2, 3), b"1-3\n"), ((0, 2, 3, 511), b"0,2-3,511\n")]
)
def test_lists(cpus: tuple[int, ...], text: bytes) -> None:
    """The visible CPUs are listed as the kernel lists CPUs, and none is offline."""
    view = ResourceView(0, cpu_part=CpuView(dict.fromkeys(cpus, CpuTimes(0, 0, 0))))
    assert text == cpulists.render_visible(view, HostSnapshot())
    assert b"\n" == cpulists.render_none(view, HostSnapshot())


class Content:
    """Content that names its reader, who sees `VISIBLE`."""

    def open(self, file: VirtualFile, pid: int) -> tuple[Container | None, bytes]:
        """Answer with the file and the reader."""
        return None, f"{file.path} {pid}\n".encode()

    def read(self, file: VirtualFile, container: Container | None) -> bytes:
        """Answer with the file."""
        del container
        return f"{file.path} again\n".encode()

    def visible_cpus(self, pid: int) -> CpuSet | None:
        """Answer as the table above."""
        return VISIBLE[pid]


def context(pid: int) -> pyfuse3.RequestContext:
    """Return who asks."""
    return cast("pyfuse3.RequestContext", SimpleNamespace(pid=pid, uid=0, gid=0, umask=0))


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a handler, which must not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    raise AssertionError("the handler suspended")


def refusal(coroutine: Coroutine[Any, Any, Any]) -> int:
    """Return the errno that a handler refuses with."""
    with pytest.raises(pyfuse3.FUSEError) as refused:
        run(coroutine)
    return refused.value.errno


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Return a host with CPUs 0, 1 and 10."""
    for name in (*LISTS - {"enabled"}, "kernel_max"):
        (tmp_path / name).write_text("host\n")
        (tmp_path / name).chmod(0o444)
    for cpu in ("cpu0", "cpu1", "cpu10"):
        (tmp_path / cpu / "topology").mkdir(parents=True)
        (tmp_path / cpu / "topology/core_id").write_text(f"{cpu}\n")
        (tmp_path / cpu / "node0").symlink_to("../../node/node0")
        (tmp_path / cpu / "online").write_text("1\n")
        (tmp_path / cpu / "online").chmod(0o644)
    (tmp_path / "cpufreq").mkdir()
    (tmp_path / "probe").write_text("")
    (tmp_path / "probe").chmod(0o200)
    (tmp_path / "secret").write_text("")
    (tmp_path / "secret").chmod(0o400)
    return tmp_path


class Mounted:
    """A file system over a host's directory, and ways through it."""

    def __init__(self, host: HostTree) -> None:
        """Serve the whole table."""
        self.fs = FileSystem(Tree(VIRTUAL_FILES, host), cast("ContentService", Content()))

    def find(self, path: str) -> pyfuse3.EntryAttributes:
        """Look a path below the CPU directory up."""
        inode = pyfuse3.ROOT_INODE
        for name in f"{CPU_DIRECTORY}/{path}".rstrip("/").split("/"):
            found = run(self.fs.lookup(inode, pyfuse3.FileNameT(name.encode()), context(HOST)))
            inode = found.st_ino
        return found

    def names(self, path: str, pid: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
        """List a directory for `pid` in pieces of two: names and modes."""
        listed: dict[str, int] = {}
        piece: list[int] = []

        def reply(_token: object, name: bytes, attributes: pyfuse3.EntryAttributes, next_id: int) -> bool:
            if len(piece) == 2:
                return False
            piece.append(next_id)
            listed[os.fsdecode(name)] = attributes.st_mode
            return True

        monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
        handle = run(self.fs.opendir(self.find(path).st_ino, context(pid)))
        start = 0
        while True:
            piece.clear()
            run(self.fs.readdir(handle, start, cast("pyfuse3.ReaddirToken", None)))
            if not piece:
                break
            start = piece[-1]
        run(self.fs.releasedir(handle))
        return listed


@pytest.fixture
def mounted(host: Path) -> Mounted:
    """Return a file system over the host."""
    return Mounted(HostTree(host))


@pytest.mark.parametrize(
    "pid, cpus", [(HOST, {"cpu0", "cpu1", "cpu10"}), (ONE, {"cpu1"}), (TWO, {"cpu0", "cpu10"})]
)
def test_listing_has_the_visible_cpus(
    mounted: Mounted, pid: int, cpus: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU's directory is listed for those who see it, as a directory; all else is listed for everyone."""
    listed = mounted.names("", pid, monkeypatch)
    assert cpus | LISTS - {"enabled"} | {"kernel_max", "cpufreq", "probe", "secret"} == listed.keys()
    assert cpus | {"cpufreq"} == {name for name, mode in listed.items() if stat.S_ISDIR(mode)}


def test_hidden_cpu(mounted: Mounted) -> None:
    """Looking a hidden CPU up tells nobody anything; what tells of it is refused, and asked for each time."""
    cpu0 = mounted.find("cpu0")
    assert (0, True) == (cpu0.attr_timeout, cpu0.entry_timeout > 0)
    for refused in (
        mounted.fs.getattr(cpu0.st_ino, context(ONE)),
        mounted.fs.opendir(cpu0.st_ino, context(ONE)),
    ):
        assert errno.ENOENT == refusal(refused)
    assert 0o40555 == run(mounted.fs.getattr(cpu0.st_ino, context(TWO))).st_mode
    assert mounted.find("cpufreq").attr_timeout > 0


def test_modes_lose_only_write_bits(mounted: Mounted) -> None:
    """Who may read is up to the host; nobody may write."""
    modes = {path: mounted.find(path).st_mode for path in ("cpu1", "cpu1/online", "probe", "secret")}
    assert {"cpu1": 0o40555, "cpu1/online": 0o100444, "probe": 0o100000, "secret": 0o100400} == modes
    assert 0o120777 == mounted.find("cpu1/node0").st_mode


def test_host_content(mounted: Mounted) -> None:
    """Below a CPU everything is the host's; the lists are rendered for who asks."""
    fs = mounted.fs
    core_id = run(fs.open(mounted.find("cpu10/topology/core_id").st_ino, os.O_RDONLY, context(TWO))).fh
    assert (b"cp", b"u10\n", b"") == tuple(
        run(fs.read(core_id, at, size)) for at, size in ((0, 2), (2, 99), (6, 9))
    )
    node0 = mounted.find("cpu1/node0").st_ino
    assert b"../../node/node0" == run(fs.readlink(node0, context(ONE)))
    online = run(fs.open(mounted.find("online").st_ino, os.O_RDONLY, context(TWO))).fh
    assert f"{CPU_DIRECTORY}/online {TWO}\n".encode() == run(fs.read(online, 0, 99))


def test_host_file_is_read_again_from_its_start(mounted: Mounted, host: Path) -> None:
    """As with the kernel's file a reader that goes back sees news, and ENODEV when the file is gone."""
    fs, file = mounted.fs, host / "cpu1/topology/core_id"
    handle = run(fs.open(mounted.find("cpu1/topology/core_id").st_ino, os.O_RDONLY, context(ONE))).fh
    assert b"cpu1\n" == run(fs.read(handle, 0, 99))
    file.write_text("changed\n")
    assert (b"pu1\n", b"changed\n") == (run(fs.read(handle, 1, 99)), run(fs.read(handle, 0, 99)))
    file.unlink()
    assert errno.ENODEV == refusal(fs.read(handle, 0, 99))


class Unreadable(HostTree):
    """A host that opens files and does not read them."""

    def read(self, path: str) -> bytes:
        """Refuse as power/autosuspend_delay_ms does."""
        del path
        raise HostReadError(errno.EIO)


def test_refused_read(host: Path) -> None:
    """A file that the host opens and does not read is opened, and every read has the host's errno."""
    mounted = Mounted(Unreadable(host))
    handle = run(mounted.fs.open(mounted.find("kernel_max").st_ino, os.O_RDONLY, context(ONE))).fh
    assert [errno.EIO] * 3 == [refusal(mounted.fs.read(handle, offset, 9)) for offset in (0, 0, 5)]


@pytest.mark.parametrize("path", ["online", "kernel_max", "cpu1/online", "probe"])
@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC | os.O_APPEND])
def test_nothing_is_opened_for_writing(mounted: Mounted, path: str, flags: int) -> None:
    """Not even root opens a file for writing."""
    assert errno.EACCES == refusal(mounted.fs.open(mounted.find(path).st_ino, flags, context(HOST)))


def test_refusals_are_those_of_sysfs(mounted: Mounted) -> None:
    """What cannot be done has the errno of /sys."""
    fs, cpu, new, ctx = mounted.fs, mounted.find("").st_ino, pyfuse3.FileNameT(b"new"), context(HOST)
    mode = pyfuse3.ModeT(0)
    calls: list[tuple[int, Coroutine[Any, Any, Any]]] = [
        (errno.EACCES, fs.create(cpu, new, mode, 0, ctx)),
        (errno.EPERM, fs.mkdir(cpu, new, mode, ctx)),
        (errno.EPERM, fs.mknod(cpu, new, mode, 0, ctx)),
        (errno.EPERM, fs.symlink(cpu, new, new, ctx)),
        (errno.EPERM, fs.link(cpu, cpu, new, ctx)),
        (errno.EPERM, fs.rename(cpu, pyfuse3.FileNameT(b"online"), cpu, new, 0, ctx)),
        (errno.ENOENT, fs.lookup(cpu, new, ctx)),
        (errno.ENOENT, fs.lookup(cpu, pyfuse3.FileNameT(b"enabled"), ctx)),
        (errno.ENOENT, fs.lookup(cpu, pyfuse3.FileNameT(b".."), ctx)),
        (errno.ENOTDIR, fs.lookup(mounted.find("kernel_max").st_ino, new, ctx)),
        (errno.EISDIR, fs.open(mounted.find("cpu1").st_ino, 0, ctx)),
        (errno.EINVAL, fs.readlink(mounted.find("online").st_ino, ctx)),
    ]
    assert [number for number, _ in calls] == [refusal(call) for _, call in calls]


def test_inodes_are_known_to_the_next_server(mounted: Mounted, host: Path) -> None:
    """A number that the kernel got from another server means the same path, and so it does after a replug."""
    paths = ("cpu1", "cpu10/topology/core_id", "cpu1/node0")
    inodes = [mounted.find(path).st_ino for path in paths]
    (host / "cpu1/node0").unlink()
    (host / "cpu1/node0").symlink_to("../../node/node0")
    successor = Mounted(HostTree(host)).fs
    assert inodes == [run(successor.getattr(inode, context(HOST))).st_ino for inode in inodes]
    assert errno.ESTALE == refusal(successor.getattr(pyfuse3.InodeT(77), context(HOST)))


def test_inodes_of_the_table_and_the_host_are_apart(mounted: Mounted) -> None:
    """No path of the host can have a number of the table."""
    assert max(build_nodes(VIRTUAL_FILES)) < 1 << 33 < mounted.find("cpu1").st_ino


def test_colliding_paths_have_numbers_of_their_own(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two paths with one hash the later one is numbered by a longer name."""
    monkeypatch.setattr(hostnodes, "_hash", lambda path: pyfuse3.InodeT((1 << 63) + path.count(b"\0")))
    inodes = {path: mounted.find(path).st_ino for path in ("cpu0", "cpu1", "cpu10")}
    assert 3 == len(set(inodes.values()))
    assert inodes == {path: mounted.find(path).st_ino for path in inodes}
