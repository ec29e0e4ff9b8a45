"""The CPU tree: the lists as they are rendered, and the host's entries as the handlers answer for them."""

import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from pylxcfs.accounting.cpu_ledger import CpuTimes
from pylxcfs.cgroup.types import CpuSet
from pylxcfs.containers.container import Container
from pylxcfs.content.service import ContentService
from pylxcfs.fuse import hostnodes
from pylxcfs.fuse.frames import Opcode
from pylxcfs.fuse.node import Inode
from pylxcfs.fuse.operations import Operations
from pylxcfs.fuse.partial_reads import Handle, Passes
from pylxcfs.fuse.tree import Tree, build_nodes
from pylxcfs.linux.hosttree import HostReadError, HostTree
from pylxcfs.procfiles import cpulists
from pylxcfs.procfiles.binds import CPU_DIRECTORY, NODE_DIRECTORY
from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile, node_files
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import CpuView, ResourceView
from tests.unit.kernel import Entry, Kernel, Refused

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
    """Content that names its file; a reader sees `VISIBLE`."""

    lifetime_seconds = 0
    shows_host = False

    def is_io_worker(self, pid: int) -> bool:
        """Tell nobody for one."""
        del pid
        return False

    def file_for(self, file: VirtualFile, pid: int) -> VirtualFile:
        """Show everybody the same rows."""
        del pid
        return file

    def who(self, pid: int) -> None:
        """Take everybody for the host."""
        del pid

    def read(self, file: VirtualFile, container: Container | None) -> bytes:
        """Answer with the file."""
        del container
        return f"{file.path}\n".encode()

    def visible_nodes(self, pid: int) -> CpuSet | None:
        """Answer as the table above."""
        return VISIBLE[pid]

    def visible_cpus(self, pid: int) -> CpuSet | None:
        """Answer as the table above."""
        return VISIBLE[pid]


def refusal(call: Callable[[], object]) -> int:
    """Return the errno that a request is refused with."""
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.number


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


class Mounted(Kernel):
    """Asks a file system over a host's directory."""

    def __init__(self, host: HostTree, files: Sequence[VirtualFile] = VIRTUAL_FILES) -> None:
        """Serve the whole table, or these."""
        passes = Passes(Path("/nowhere"))
        tree = Tree(files, host)
        super().__init__(lambda gate: Operations(tree, cast("ContentService", Content()), passes, gate))

    def below(self, path: str) -> Entry:
        """Find a path below the CPU directory."""
        return self.find(f"{CPU_DIRECTORY}/{path}".rstrip("/"))

    def open_below(self, path: str, flags: int, pid: int) -> Handle:
        """Open a file below the CPU directory."""
        return self.open_inode(self.below(path).inode, flags, pid)


@pytest.fixture
def mounted(host: Path) -> Iterator[Mounted]:
    """Return a file system over the host."""
    with Mounted(HostTree(host)) as mounted:
        yield mounted


@pytest.mark.parametrize(
    "pid, cpus", [(HOST, {"cpu0", "cpu1", "cpu10"}), (ONE, {"cpu1"}), (TWO, {"cpu0", "cpu10"})]
)
def test_listing_has_the_visible_cpus(mounted: Mounted, pid: int, cpus: set[str]) -> None:
    """A CPU's directory is listed for those who see it, as a directory; all else is listed for everyone."""
    listed = mounted.list(mounted.below("").inode, pid, 200)
    assert cpus | LISTS - {"enabled"} | {"kernel_max", "cpufreq", "probe", "secret"} == listed.keys()
    assert cpus | {"cpufreq"} == {name for name, mode in listed.items() if stat.S_ISDIR(mode)}


def test_hidden_cpu(mounted: Mounted) -> None:
    """Looking a hidden CPU up tells nobody anything; what tells of it is refused, and asked for each time."""
    cpu0 = mounted.below("cpu0")
    assert (0, True) == (cpu0.attr_timeout, cpu0.entry_timeout > 0)
    assert errno.ENOENT == refusal(lambda: mounted.get_attributes(cpu0.inode, ONE))
    assert errno.ENOENT == refusal(lambda: mounted.list(cpu0.inode, ONE, 999))
    assert 0o40555 == mounted.get_attributes(cpu0.inode, TWO).mode
    assert mounted.below("cpufreq").attr_timeout > 0
    below = mounted.below("cpu0/topology/core_id")
    assert 0 == below.attr_timeout
    assert errno.ENOENT == refusal(lambda: mounted.get_attributes(below.inode, ONE))
    assert errno.ENOENT == refusal(lambda: mounted.open_inode(below.inode, os.O_RDONLY, ONE))
    assert errno.ENOENT == refusal(
        lambda: mounted.ask(Opcode.READLINK, mounted.below("cpu0/node0").inode, pid=ONE)
    )
    assert errno.ENOENT == refusal(lambda: mounted.ask(Opcode.ACCESS, below.inode, bytes(8), ONE))


def test_hidden_numa_node(host: Path) -> None:
    """As a hidden CPU: its directory and what is in it are not there for who does not see it."""
    with Mounted(HostTree(host), [*VIRTUAL_FILES, *node_files(CpuSet([0, 1, 10]))]) as mounted:
        node0, file = (mounted.find(f"{NODE_DIRECTORY}/{path}").inode for path in ("node0", "node0/cpulist"))
        assert errno.ENOENT == refusal(lambda: mounted.get_attributes(node0, ONE))
        assert errno.ENOENT == refusal(lambda: mounted.get_attributes(file, ONE))
        for pid in (HOST, TWO):
            assert node0 == mounted.get_attributes(node0, pid).inode
        directory = mounted.find(NODE_DIRECTORY).inode
        assert {"node1"} == {name for name in mounted.list(directory, ONE, 999) if name.startswith("node")}


def test_modes_lose_only_write_bits(mounted: Mounted) -> None:
    """Who may read is up to the host; nobody may write."""
    modes = {path: mounted.below(path).mode for path in ("cpu1", "cpu1/online", "probe", "secret")}
    assert {"cpu1": 0o40555, "cpu1/online": 0o100444, "probe": 0o100000, "secret": 0o100400} == modes
    assert 0o120777 == mounted.below("cpu1/node0").mode


def test_host_content(mounted: Mounted) -> None:
    """Below a CPU everything is the host's; the lists are rendered for who asks."""
    core_id = mounted.open_below("cpu10/topology/core_id", os.O_RDONLY, TWO)
    reads = [mounted.read(core_id, offset, size) for offset, size in ((0, 2), (2, 99), (6, 9))]
    assert [b"cp", b"u10\n", b""] == reads
    assert b"../../node/node0" == mounted.read_link(mounted.below("cpu1/node0").inode)
    online = mounted.open_below("online", os.O_RDONLY, TWO)
    assert f"{CPU_DIRECTORY}/online\n".encode() == mounted.read(online, 0, 99)


def test_host_file_is_read_again_from_its_start(mounted: Mounted, host: Path) -> None:
    """As with the kernel's file a reader that goes back sees news, and ENODEV when the file is gone."""
    file = host / "cpu1/topology/core_id"
    handle = mounted.open_below("cpu1/topology/core_id", os.O_RDONLY, ONE)
    assert b"cpu1\n" == mounted.read(handle, 0, 99)
    file.write_text("changed\n")
    assert (b"pu1\n", b"changed\n") == (mounted.read(handle, 1, 99), mounted.read(handle, 0, 99))
    file.unlink()
    assert errno.ENODEV == refusal(lambda: mounted.read(handle, 0, 99))


class Unreadable(HostTree):
    """A host that opens files and does not read them."""

    def read(self, path: str) -> bytes:
        """Refuse as power/autosuspend_delay_ms does."""
        del path
        raise HostReadError(errno.EIO)


def test_refused_read(host: Path) -> None:
    """A file that the host opens and does not read is opened, and every read has the host's errno."""
    with Mounted(Unreadable(host)) as mounted:
        handle = mounted.open_below("kernel_max", os.O_RDONLY, ONE)
        for offset in (0, 0, 5):
            with pytest.raises(Refused, match="EIO"):
                mounted.read(handle, offset, 9)


@pytest.mark.parametrize("path", ["online", "kernel_max", "cpu1/online", "probe"])
@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC | os.O_APPEND])
def test_nothing_is_opened_for_writing(mounted: Mounted, path: str, flags: int) -> None:
    """Not even root opens a file for writing."""
    assert errno.EACCES == refusal(lambda: mounted.open_below(path, flags, HOST))


@pytest.mark.parametrize(
    "expected, opcode, body",
    [
        (errno.EACCES, Opcode.CREATE, bytes(16) + b"new\0"),
        (errno.EPERM, Opcode.MKDIR, bytes(8) + b"new\0"),
        (errno.EPERM, Opcode.MKNOD, bytes(16) + b"new\0"),
        (errno.EACCES, Opcode.MKNOD, struct.pack("=IIII", stat.S_IFREG, 0, 0, 0) + b"new\0"),
        (errno.EPERM, Opcode.SYMLINK, b"new\0new\0"),
        (errno.EPERM, Opcode.LINK, bytes(8) + b"new\0"),
        (errno.ENOENT, Opcode.LOOKUP, b"new\0"),
        (errno.ENOENT, Opcode.LOOKUP, b"enabled\0"),
        (errno.ENOENT, Opcode.LOOKUP, b"..\0"),
        (errno.EISDIR, Opcode.OPEN, bytes(8)),
        (errno.EINVAL, Opcode.READLINK, b""),
    ],
)
def test_refusals_are_those_of_sysfs(mounted: Mounted, expected: int, opcode: int, body: bytes) -> None:
    """What cannot be done has the errno of /sys."""
    directory = mounted.below(
        "online" if opcode == Opcode.READLINK else "cpu1" if opcode == Opcode.OPEN else ""
    )
    assert expected == refusal(lambda: mounted.ask(opcode, directory.inode, body, HOST))


def test_renaming_is_refused(mounted: Mounted) -> None:
    """A rename has the errno of /sys, and a file is no directory to look in."""
    cpu = mounted.below("").inode
    body = struct.pack("=Q", cpu) + b"online\0new\0"
    assert errno.EPERM == refusal(lambda: mounted.ask(Opcode.RENAME, cpu, body, HOST))
    assert errno.ENOTDIR == refusal(lambda: mounted.look_up(mounted.below("kernel_max").inode, b"new"))


def test_inodes_are_known_to_the_next_server(host: Path) -> None:
    """A number that the kernel got from another server means the same path, and so it does after a replug."""
    paths = ("cpu1", "cpu10/topology/core_id", "cpu1/node0")
    with Mounted(HostTree(host)) as mounted:
        inodes = [mounted.below(path).inode for path in paths]
    (host / "cpu1/node0").unlink()
    (host / "cpu1/node0").symlink_to("../../node/node0")
    with Mounted(HostTree(host)) as successor:
        assert inodes == [successor.get_attributes(inode, HOST).inode for inode in inodes]
        assert errno.ESTALE == refusal(lambda: successor.get_attributes(77, HOST))


@pytest.mark.parametrize("offset,expected", [(0, b"cpu10\n"), (3, b"10\n"), (6, b"")])
def test_an_open_file_of_the_host_goes_on(host: Path, offset: int, expected: bytes) -> None:
    """A file that was opened at another server is the host's, from wherever its reader has come to."""
    with Mounted(HostTree(host)) as mounted:
        inode = mounted.below("cpu10/topology/core_id").inode
        handle = mounted.open_inode(inode, os.O_RDONLY, TWO)
    with Mounted(HostTree(host)) as successor:
        assert expected == successor.read(handle, offset, 99, inode=inode)
        assert 1 == successor.operations.open_files


def test_inodes_of_the_table_and_the_host_are_apart(mounted: Mounted) -> None:
    """No path of the host can have a number of the table."""
    assert max(build_nodes(VIRTUAL_FILES)) < 1 << 33 < mounted.below("cpu1").inode


def test_colliding_paths_have_numbers_of_their_own(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two paths with one hash the later one is numbered by a longer name."""
    monkeypatch.setattr(hostnodes, "_hash", lambda path: Inode((1 << 63) + path.count(b"\0")))
    inodes = {path: mounted.below(path).inode for path in ("cpu0", "cpu1", "cpu10")}
    assert 3 == len(set(inodes.values()))
    assert inodes == {path: mounted.below(path).inode for path in inodes}
