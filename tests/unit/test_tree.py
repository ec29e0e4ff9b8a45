"""What the kernel is told of each node, and for how long it may remember it."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from pylxcfs.cgroup.types import CpuSet
from pylxcfs.fuse.hostnodes import HostNodes
from pylxcfs.fuse.node import ROOT_INODE, Inode, Node
from pylxcfs.fuse.tree import build_nodes
from pylxcfs.linux.hosttree import HostTree
from pylxcfs.procfiles.binds import CPU_DIRECTORY, NODE_DIRECTORY
from pylxcfs.procfiles.table import VIRTUAL_FILES, node_files

_DAY = 86400


@pytest.fixture
def nodes() -> Mapping[Inode, Node]:
    """Return the table's nodes on a machine with two NUMA nodes."""
    return build_nodes([*VIRTUAL_FILES, *node_files(CpuSet([0, 1]))])


def _find(nodes: Mapping[Inode, Node], path: str) -> Node:
    node = nodes[ROOT_INODE]
    for name in filter(None, path.split("/")):
        node = nodes[node.children[name.encode()]]
    return node


def test_numbers_outlive_the_server() -> None:
    """The next server, of whichever version, has the same numbers: the kernel goes on asking for these."""
    nodes = build_nodes(VIRTUAL_FILES)
    numbers = {"": 1, "proc": 735085622, "proc/meminfo": 2779959478, CPU_DIRECTORY: 1680610546}
    assert numbers == {path: _find(nodes, path).attributes.st_ino for path in numbers}


@pytest.mark.parametrize(
    "path,links",
    [
        ("", 2),
        ("proc", 2),
        ("proc/pressure", 2),
        ("sys/devices/system", 2),
        (CPU_DIRECTORY, 1),
        (NODE_DIRECTORY, 1),
        (f"{NODE_DIRECTORY}/node0", 2),
        ("proc/meminfo", 1),
        (f"{CPU_DIRECTORY}/online", 1),
    ],
)
def test_links(nodes: Mapping[Inode, Node], path: str, links: int) -> None:
    """Two of a directory, but one where it depends on who asks what is in it; one of a file."""
    node = _find(nodes, path)
    assert links == node.attributes.st_nlink
    # A directory has no size, as in /proc.
    assert node.is_directory is (node.attributes.st_size == 0)


@pytest.mark.parametrize(
    "path,name_seconds,attributes_seconds",
    [
        *((path, _DAY, _DAY) for path in ("", "proc", "proc/pressure", CPU_DIRECTORY, NODE_DIRECTORY)),
        *(
            (path, _DAY, 0)
            for path in ("proc/meminfo", f"{CPU_DIRECTORY}/online", f"{NODE_DIRECTORY}/online")
        ),
        *((path, 1, 0) for path in (f"{NODE_DIRECTORY}/node1", f"{NODE_DIRECTORY}/node1/meminfo")),
    ],
)
def test_what_may_be_remembered(
    nodes: Mapping[Inode, Node], path: str, name_seconds: int, attributes_seconds: int
) -> None:
    """All for a day, but what depends on who asks: how long a file is, and whether a NUMA node is there."""
    attributes = _find(nodes, path).attributes
    assert (name_seconds, attributes_seconds) == (attributes.entry_timeout, attributes.attr_timeout)


def test_which_nodes_belong_to_whom(nodes: Mapping[Inode, Node]) -> None:
    """NUMA nodes know their number, and the CPU directory alone has the host's entries."""
    assert [0, 1] == [_find(nodes, f"{NODE_DIRECTORY}/node{number}").numa for number in (0, 1)]
    assert {None} == {_find(nodes, path).numa for path in ("proc", NODE_DIRECTORY, CPU_DIRECTORY)}
    assert "" == _find(nodes, CPU_DIRECTORY).host_path
    assert {None} == {_find(nodes, path).host_path for path in ("proc", "sys/devices", NODE_DIRECTORY)}
    in_sysfs = {path: _find(nodes, path).in_sysfs for path in ("", "proc", "proc/stat", "sys", CPU_DIRECTORY)}
    assert {"": False, "proc": False, "proc/stat": False, "sys": True, CPU_DIRECTORY: True} == in_sysfs


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Return a host's CPU directory with a CPU, a file and a link, of another owner."""
    (tmp_path / "cpu10").mkdir()
    (tmp_path / "cpu10/online").write_text("1\n")
    (tmp_path / "cpu01").write_text("no directory, and no number either\n")
    (tmp_path / "cpufreq").symlink_to("nowhere")
    os.utime(tmp_path / "cpu10/online", ns=(1_000_000_001, 2_000_000_002))
    return tmp_path


def test_numbers_of_the_hosts_nodes(host: Path) -> None:
    """They too are a function of the path alone, the same for every version of the server."""
    nodes = HostNodes(HostTree(host))
    assert 0xA00A_7CD0_1BE6_C472 == nodes.child("", b"cpu10").attributes.st_ino
    assert 0xA00A_F3A4_7377_ED02 == nodes.child("cpu10", b"online").attributes.st_ino


@pytest.mark.parametrize("path", ["cpu10", "cpu10/online", "cpufreq"])
def test_the_hosts_nodes_are_described_as_they_are(host: Path, path: str) -> None:
    """Owner, links and times are the host's."""
    directory, _, name = path.rpartition("/")
    attributes = HostNodes(HostTree(host)).child(directory, name.encode()).attributes
    status = (host / path).lstat()
    for field in ("st_nlink", "st_uid", "st_gid", "st_atime_ns", "st_mtime_ns", "st_ctime_ns"):
        assert getattr(status, field) == getattr(attributes, field), field
    assert stat.S_IFMT(status.st_mode) == stat.S_IFMT(attributes.st_mode)


def test_how_long_the_hosts_nodes_may_be_remembered(host: Path) -> None:
    """A second; of a CPU's directory and what is in it, who asks is asked about each time."""
    nodes = HostNodes(HostTree(host))
    known = dict([*nodes.children(""), *nodes.children("cpu10")])
    cpus = {name: node.cpu for name, node in known.items()}
    assert {b"cpu10": 10, b"online": 10, b"cpu01": None, b"cpufreq": None} == cpus
    for name, node in known.items():
        kept = node.attributes
        assert (1, 1 if cpus[name] is None else 0) == (kept.entry_timeout, kept.attr_timeout), name


class _CountingTree(HostTree):
    """Takes note of the directories that are listed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.listed: list[str] = []

    def list(self, path: str) -> list[tuple[str, os.stat_result]]:
        self.listed.append(path)
        return super().list(path)


@pytest.fixture
def large(tmp_path: Path) -> _CountingTree:
    """Return the tree of a machine with 512 CPUs."""
    for number in range(512):
        for directory in (f"cpu{number}/cache/index0", f"cpu{number}/topology", f"cpufreq/policy{number}"):
            (tmp_path / directory).mkdir(parents=True)
            (tmp_path / directory / "file").touch()
    (tmp_path / "cpufreq/boost").touch()
    (tmp_path / "online").touch()
    return _CountingTree(tmp_path)


@pytest.mark.parametrize(
    "path,listed",
    [
        ("cpu511/cache/index0/file", {"cpu511", "cpu511/cache", "cpu511/cache/index0", "cpu511/topology"}),
        ("cpu7", {"cpu7", "cpu7/cache", "cpu7/cache/index0", "cpu7/topology"}),
        ("cpufreq/policy300/file", {"cpufreq/policy300"}),
        ("cpufreq/boost", {"", "cpufreq"}),
        ("online", {"", "cpufreq"}),
    ],
)
def test_of_a_large_tree_only_a_part_is_looked_through(
    tmp_path: Path, large: _CountingTree, path: str, listed: set[str]
) -> None:
    """A number of an earlier server tells where it is: to find it costs one CPU's directory."""
    nodes = HostNodes(large)
    for _ in range(2):
        found = nodes.node(_inode(tmp_path, path))
        assert path == (found and found.host_path)
    assert sorted(listed) == sorted(large.listed)


def test_numbers_that_were_never_given_cost_one_look(host: Path) -> None:
    """However many are asked for; what is named costs none."""
    tree = _CountingTree(host)
    nodes = HostNodes(tree)
    named = nodes.child("", b"cpu10").attributes.st_ino
    known = nodes.node(Inode(named))
    assert ([], "cpu10") == (tree.listed, known and known.host_path)
    assert [None] * 4 == [nodes.node(Inode(number)) for number in (77, 1 << 63 | 77, 1 << 63 | 78, 7 << 61)]
    assert [""] == tree.listed


def _inode(host: Path, path: str) -> Inode:
    """Return the number that another server has given."""
    directory, _, name = path.rpartition("/")
    return Inode(HostNodes(HostTree(host)).child(directory, name.encode()).attributes.st_ino)
