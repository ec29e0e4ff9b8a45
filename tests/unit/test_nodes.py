"""NUMA nodes: which are a container's, and what their files say."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import V2, CgroupPath, CgroupPaths, ControllerUnavailable, CpuSet
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.cgroup.v2 import V2Reader
from pylxcfs.procfiles.binds import NODE_DIRECTORY, bindable
from pylxcfs.procfiles.field import Rule
from pylxcfs.procfiles.nodes import LISTS
from pylxcfs.procfiles.table import VirtualFile, node_files
from pylxcfs.view.host import HostNode, HostReader, HostSnapshot
from pylxcfs.view.nodes import NodeView, build_nodes
from pylxcfs.view.resources import ResourceView

GIB = 1 << 30
HOST = {
    0: HostNode(CpuSet([0, 1]), 6 * GIB),
    2: HostNode(CpuSet([2, 3]), 2 * GIB),
    3: HostNode(CpuSet(), GIB),
}
FILES = {file.path.removeprefix(f"{NODE_DIRECTORY}/"): file for file in node_files(CpuSet(HOST))}
MEMINFO = b"""Node 2 MemTotal:        2097152 kB
Node 2 MemFree:         1000000 kB
Node 2 MemUsed:         1097152 kB
Node 2 FilePages:          5000 kB
Node 2 Mlocked:             777 kB
Node 2 HugePages_Total:     5
"""


def plain(cpus: list[int]) -> dict[int, int]:
    """Return CPUs that are shown by the kernel's numbers."""
    return {cpu: cpu for cpu in cpus}


def shown(name: str, nodes: NodeView, container: ResourceView | None = None, text: bytes = b"") -> bytes:
    """Render one file."""
    view = ResourceView(
        0, memory_part=container.memory_part if container else None, nodes_part=nodes, cpus_part=CpuSet()
    )
    return FILES[name].render(view, HostSnapshot(nodes=HOST, node_text=text))


@pytest.mark.parametrize(
    "cpus,allowed,online,has_cpu,has_memory",
    [
        ([0, 1, 2, 3], None, b"0,2-3", b"0,2", b"0,2-3"),
        ([1], [0], b"0", b"0", b"0"),
        ([3], [0], b"0,2", b"2", b"0"),
        ([0], [2, 9], b"0,2", b"0", b"2"),
        ([], [3], b"3", b"", b"3"),
    ],
)
def test_lists(
    cpus: list[int], allowed: list[int] | None, online: bytes, has_cpu: bytes, has_memory: bytes
) -> None:
    """Nodes are there for their CPUs, or for memory that may come from them."""
    nodes = build_nodes(HOST, plain(cpus), None if allowed is None else CpuSet(allowed))
    lists = {name: shown(name, nodes).strip() for name in LISTS}
    assert {"online": online, "possible": online} == {name: lists[name] for name in ("online", "possible")}
    assert (has_cpu, has_memory, has_memory) == (
        lists["has_cpu"],
        lists["has_memory"],
        lists["has_normal_memory"],
    )


def test_cpus_have_the_numbers_of_the_cpu_tree() -> None:
    """With compact numbers the second visible CPU is 1, wherever it is."""
    nodes = build_nodes(HOST, {1: 0, 3: 1}, None)
    assert [b"0\n", b"1\n"] == [shown(f"node{node}/cpulist", nodes) for node in (0, 2)]
    assert b"\n" == shown("node3/cpulist", nodes)
    assert b"2\n" == shown("node2/cpumap", nodes, text=b"c\n")


@pytest.mark.parametrize(
    "text,expected",
    [
        (b"f\n", b"8\n"),
        (b"000000ff\n", b"00000008\n"),
        (b"3,ffffffff\n", b"0,00000008\n"),
        (b"ff,ffffffff,ffffffff\n", b"00,00000000,00000008\n"),
    ],
)
def test_masks(text: bytes, expected: bytes) -> None:
    """As many digits as the host's, in groups of eight from the right."""
    assert expected == shown("node2/cpumap", build_nodes(HOST, plain([3]), None), text=text)


def test_distances() -> None:
    """Numbers of the container's nodes alone, in their order."""
    nodes = build_nodes(HOST, plain([0]), CpuSet([3]))
    assert b"10 31\n" == shown("node0/distance", nodes, text=b"10 21 31\n")


def test_memory(container: ResourceView) -> None:
    """A node's part of each field is as large as its part of the host's memory; what nobody counts is 0."""
    nodes = build_nodes(HOST, plain([0, 2]), CpuSet([0, 2]))
    lines = shown("node2/meminfo", nodes, container, MEMINFO).decode().splitlines()
    told = {line.split()[2].rstrip(":"): int(line.split()[3]) for line in lines}
    memory = container.memory
    quarter = {
        "MemTotal": memory.total,
        "MemFree": memory.free,
        "MemUsed": memory.total - memory.free,
        "FilePages": memory.cached,
        "Mlocked": 0,
        "HugePages_Total": 0,
    }
    assert {name: amount // 4 // 1024 for name, amount in quarter.items()} == told
    assert [len(line) for line in MEMINFO.decode().splitlines()] == [len(line) for line in lines]
    assert lines[0].startswith("Node 2 MemTotal: ")


@pytest.mark.parametrize(
    "memory,share", [({0: 3, 2: 1}, 25), ({2: 0}, 100), ({0: 5}, 0), ({}, 0), ({0: 0, 2: 0}, 0)]
)
def test_share(memory: dict[int, int], share: int) -> None:
    """In proportion; all of it where there is only one node, nothing where there is none."""
    assert share == NodeView({}, memory).share(2, 100)


node_sets = st.dictionaries(
    st.integers(0, 5),
    st.builds(HostNode, st.sets(st.integers(0, 7)).map(CpuSet), st.integers(0, 1 << 40)),
    min_size=1,
)


@given(node_sets, st.sets(st.integers(0, 7)), st.none() | st.sets(st.integers(0, 5)))
def test_nodes_hold_together(host: dict[int, HostNode], cpus: set[int], allowed: set[int] | None) -> None:
    """Each CPU is on a node as on the host, parts are no more than the whole, and lists agree."""
    nodes = build_nodes(host, plain(sorted(cpus)), None if allowed is None else CpuSet(allowed))
    assert set(nodes.numbers) == {*nodes.cpus, *nodes.memory} <= set(host)
    for number, node in host.items():
        assert set(nodes.cpus.get(number, ())) == set(node.cpus) & cpus
    parts = [nodes.share(number, 1000) for number in nodes.numbers]
    assert sum(parts) <= 1000
    assert not nodes.memory or sum(parts) > 1000 - len(parts)


def test_files_of_a_host() -> None:
    """Without NUMA there are none; else the lists, and four files of each node, with one bind for all."""
    assert [] == list(node_files(CpuSet()))
    assert 5 + 4 * 3 == len(FILES)
    assert (NODE_DIRECTORY,) == bindable(file.path for file in node_files(CpuSet([0, 1])))


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_fields(file: VirtualFile, container: ResourceView) -> None:
    """Every file can be taken apart, and says how it is made."""
    nodes = build_nodes(HOST, plain([0, 2]), None)
    text = shown(file.path.removeprefix(f"{NODE_DIRECTORY}/"), nodes, container, MEMINFO)
    parts = list(file.split(text))
    assert parts
    assert all(
        part.field.words and (part.field.formula or part.field.rule is not Rule.COMPUTED) for part in parts
    )


def test_which_fields_of_memory_are_told() -> None:
    """Those that the container's meminfo has too, in kB; pages are counted by nobody here."""
    parts = {part.name: part for part in FILES["node2/meminfo"].split(MEMINFO)}
    told = {name for name, part in parts.items() if part.field.rule is Rule.COMPUTED}
    assert {"MemTotal", "MemFree", "MemUsed", "FilePages"} == told
    assert {"Mlocked", "HugePages_Total"} == {*parts} - told
    assert ("2097152 kB", "5") == (parts["MemTotal"].value, parts["HugePages_Total"].value)


def test_host(tmp_path: Path) -> None:
    """Nodes are read from /sys; a kernel without NUMA has none."""
    cpu = tmp_path / "devices/system/cpu"
    cpu.mkdir(parents=True)
    (cpu / "online").write_text("0-3\n")
    none = HostReader(Path("/proc"), tmp_path)
    assert ((), {}) == (none.nodes, none.snapshot(["nodes"]).nodes)
    top = tmp_path / "devices/system/node"
    for number, cpus in {0: "0-1", 10: "?"}.items():
        (top / f"node{number}").mkdir(parents=True)
        (top / f"node{number}/cpulist").write_text(f"{cpus}\n")
        (top / f"node{number}/meminfo").write_text(f"Node {number} MemTotal:   2048 kB\n")
    (top / "online").write_text("0,10\n")
    (top / "power").mkdir()
    host = HostReader(Path("/proc"), tmp_path)
    assert (0, 10) == host.nodes
    # A node that makes no sense costs itself.
    assert {0: HostNode(CpuSet([0, 1]), 2 << 20)} == host.snapshot(["nodes"]).nodes
    assert b"0,10\n" == host.snapshot(["node/online"]).node_text
    assert host.has("node/node0/cpulist")
    assert not host.has("node/has_cpu")
    for reader in (none, host):
        os.close(reader.proc_fd)


@pytest.mark.parametrize(
    "reader,hierarchy,name",
    [
        (V1Reader, "cpuset", "cpuset.effective_mems"),
        (V1Reader, "cpuset", "cpuset.mems"),
        (V2Reader, V2, "cpuset.mems.effective"),
    ],
)
def test_allowed_nodes(
    reader: type[V1Reader] | type[V2Reader], hierarchy: str, name: str, tmp_path: Path
) -> None:
    """The nearest cgroup that says any; none at all is no answer."""
    (tmp_path / "a/b").mkdir(parents=True)
    paths = CgroupPaths.of({hierarchy: CgroupPath("/a/b")})
    files = CgroupFiles({hierarchy: str(tmp_path)}, 9)
    with pytest.raises(ControllerUnavailable, match=re.escape("mems")):
        reader(files).memory_nodes(paths)
    (tmp_path / "a" / name).write_text("0,2\n")
    (tmp_path / "a/b" / name).write_text("\n")
    again = CgroupFiles({hierarchy: str(tmp_path)}, 9)
    assert (0, 2) == reader(again).memory_nodes(paths)
