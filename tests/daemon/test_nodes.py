"""The NUMA nodes of a container: a machine that seems to have two of them, and this one."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.support.cgroups import MIB, Limits
from tests.support.container import CPU_TREE, Container
from tests.support.cpus import bind_cpu_tree
from tests.support.daemon import Daemon
from tests.support.manycpus import binding
from tests.support.readings import cpu_list, meminfo

NODES = "sys/devices/system/node"
GIB = 1 << 20


def write_nodes(root: Path, memory_gib: Mapping[int, int]) -> None:
    """Write a tree of nodes with these amounts of memory; node N has CPU N."""
    names = ",".join(map(str, memory_gib))
    for name in ("online", "possible", "has_cpu", "has_memory", "has_normal_memory"):
        (root / name).write_text(f"{names}\n")
    for index, (node, gib) in enumerate(memory_gib.items()):
        below = root / f"node{node}"
        below.mkdir()
        (below / "cpulist").write_text(f"{node}\n")
        (below / "cpumap").write_text(f"{1 << node:08x}\n")
        distances = ["10" if other == index else "21" for other in range(len(memory_gib))]
        (below / "distance").write_text(" ".join(distances) + "\n")
        lines = {
            "MemTotal": gib * GIB,
            "MemFree": gib * GIB // 2,
            "MemUsed": gib * GIB // 2,
            "FilePages": 12345,
            "Mlocked": 77,
        }
        text = "".join(f"Node {node} {name + ':':<15} {kib:8d} kB\n" for name, kib in lines.items())
        (below / "meminfo").write_text(f"{text}Node {node} HugePages_Total:     0\n")


def see(container: Container, path: str) -> str:
    """Read a file of our tree inside."""
    return container.run("cat", f"{container.served.parent}/{path}")


def is_there(container: Container, path: str) -> bool:
    """Tell whether a path is there inside."""
    return "yes\n" == container.run("sh", "-c", f"test -e {path} && echo yes || echo no")


def fields(text: str) -> dict[str, int]:
    """Return the fields of a node's meminfo."""
    return {line.split()[2].rstrip(":"): int(line.split()[3]) for line in text.splitlines()}


@pytest.fixture
def two_nodes(
    start_daemon: Callable[..., Daemon], new_directory: Callable[[str], Path]
) -> Callable[[], Daemon]:
    """Return what starts a daemon on a machine with nodes of 6 and 2 GiB."""

    def start() -> Daemon:
        tree, shared = new_directory("nodes"), new_directory("many")
        write_nodes(tree, {0: 6, 1: 2})
        (shared / "mount").mkdir()
        within = binding(shared, {tree: Path("/", NODES)})
        return start_daemon("--cache-ttl", "0", mount_point=shared / "mount", within=within)

    return start


@pytest.mark.parametrize(
    "cpus,online,has_cpu", [("0", "0", "0"), ("1", "0-1", "1"), ("0-1", "0-1", "0-1")], ids=["0", "1", "both"]
)
def test_two_nodes(
    two_nodes: Callable[[], Daemon],
    make_container: Callable[..., Container],
    cpus: str,
    online: str,
    has_cpu: str,
) -> None:
    """Lists, directories, CPUs and masks agree with the CPU tree; memory is of the node that is allowed."""
    container = make_container(Limits(cpus=cpus, memory=80 * MIB), served=two_nodes().proc)
    lists = {name: see(container, f"{NODES}/{name}").strip() for name in ("online", "possible", "has_cpu")}
    assert {"online": online, "possible": online, "has_cpu": has_cpu} == lists
    assert "0" == see(container, f"{NODES}/has_memory").strip()
    top = f"{container.served.parent}/{NODES}"
    directories = [name for name in container.run("ls", top).split() if name.startswith("node")]
    assert [f"node{node}" for node in cpu_list(online)] == directories
    of_node = {node: cpu_list(see(container, f"{NODES}/node{node}/cpulist")) for node in cpu_list(online)}
    shown = [cpu for its in of_node.values() for cpu in its]
    assert cpu_list(see(container, f"{CPU_TREE}/online")) == shown == cpu_list(cpus)
    for node, its in of_node.items():
        mask = int(see(container, f"{NODES}/node{node}/cpumap").replace(",", ""), 16)
        assert mask == sum(1 << cpu for cpu in its)
        assert len(of_node) == len(see(container, f"{NODES}/node{node}/distance").split())
    assert ("1" in online) == is_there(container, f"{top}/node1/cpulist")
    memory = meminfo(container.read("meminfo"))
    own = fields(see(container, f"{NODES}/node0/meminfo"))
    assert memory["MemTotal"] == own["MemTotal"] == 80 * 1024
    assert own["MemTotal"] == own["MemFree"] + own["MemUsed"]
    assert 0 == own["Mlocked"]


def test_nodes_are_told_apart(
    two_nodes: Callable[[], Daemon], make_container: Callable[..., Container]
) -> None:
    """Containers and the host on one mount see their own nodes, in turns, whatever others were told."""
    daemon = two_nodes()
    first = make_container(Limits(cpus="0"), served=daemon.proc)
    both = make_container(Limits(cpus="0-1"), served=daemon.proc)
    top = f"{daemon.mount_point}/{NODES}"
    for _ in range(5):
        assert "node0" == first.run("sh", "-c", f"cd {top}; echo node*").strip()
        assert "node0 node1" == both.run("sh", "-c", f"cd {top}; echo node*").strip()
        assert not is_there(first, f"{top}/node1")
        assert is_there(both, f"{top}/node1/cpulist")
        assert ["node0", "node1"] == sorted(path.name for path in Path(top).glob("node*"))


def test_compact_numbers(
    start_daemon: Callable[..., Daemon],
    make_container: Callable[..., Container],
) -> None:
    """With other numbers in the CPU tree, nodes have those too."""
    daemon = start_daemon("--cpu-numbering", "compact")
    container = make_container(Limits(cpus="1"), served=daemon.proc)
    shown = [cpu_list(see(container, f"{NODES}/{node}/cpulist")) for node in ("node0",)]
    assert [cpu_list(see(container, f"{CPU_TREE}/online"))] == shown == [[0]]


def test_this_machine(daemon: Daemon, make_container: Callable[..., Container]) -> None:
    """What consumers make of the tree when it is bound: lscpu's NUMA lines have the container's CPUs."""
    container = make_container(Limits(cpus="1"))
    bind_cpu_tree(container, daemon)
    container.run("mount", "--bind", str(daemon.mount_point / NODES), f"/{NODES}")
    told = container.run("lscpu")
    assert "NUMA node0 CPU(s):" in told
    (line,) = [line for line in told.splitlines() if line.startswith("NUMA node0")]
    assert "1" == line.split()[-1]
    assert container.run("cat", f"/{NODES}/node0/meminfo").startswith("Node 0 MemTotal:")


#: Tries what tells of a file and of its directory; prints the errnos.
_LOOK: Final = """
import errno, os, sys
def may(path):
    if not os.access(path, os.F_OK):
        raise FileNotFoundError(errno.ENOENT, path)
file = sys.argv[1]
looks = [(look, file) for look in (os.stat, may, lambda path: os.open(path, os.O_RDONLY))]
looks += [(look, os.path.dirname(file)) for look in (os.stat, may, os.listdir, os.chdir)]
for look, path in looks:
    try:
        look(path)
        print("found")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_below_what_is_hidden(
    two_nodes: Callable[[], Daemon], make_container: Callable[..., Container]
) -> None:
    """Nothing tells of what is below, though another container's look-ups left the names in the kernel."""
    daemon = two_nodes()
    first = make_container(Limits(cpus="0"), served=daemon.proc)
    both = make_container(Limits(cpus="0-1"), served=daemon.proc)
    for path in (f"{NODES}/node1/cpulist", f"{CPU_TREE}/cpu1/topology/core_id"):
        full = f"{daemon.mount_point}/{path}"
        assert both.run("cat", full)
        for _ in range(2):
            seen = [set(each.run(sys.executable, "-ISc", _LOOK, full).split()) for each in (first, both)]
            assert [{"ENOENT"}, {"found"}] == seen
