"""Files stay well-formed whatever cgroup files, the host's files and tasks say."""

import os
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.accounting.cpu_ledger_file import LedgerFile
from pylxcfs.accounting.hugepages import HugePool
from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.types import CgroupError, CpuSet
from pylxcfs.config import ViewConfig
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import Processes
from pylxcfs.content.viewbuilder import ViewBuilder
from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile
from pylxcfs.view.host import HostSnapshot
from tests.fuzz.damage import CAPTURES, damaged
from tests.fuzz.trees import MIB, GroupTree, make_tree
from tests.support.invariants import check_meminfo, check_swaps

_HOST: Final = CAPTURES / "linux-6.18-x86/proc"
_SNAPSHOT: Final = {
    field.name: (_HOST / field.name.replace("_", "/")).read_bytes()
    for field in fields(HostSnapshot)
    if (_HOST / field.name.replace("_", "/")).is_file()
}
_CPU_LINE: Final = r"cpu\d*  ?\d+(?: \d+){9}\n"
#: What each file may look like, its rows one by one.
_FORMS: Final = {
    "cpuinfo": r"(?:[^\n]*\n)+",
    "diskstats": r"(?: *\d+ +\d+ \S+(?: \d+){11,17}\n)*",
    "loadavg": r"(?:\d+\.\d\d ){3}\d+/\d+ \d+\n",
    "meminfo": r"(?:[\w()]+: +\d+(?: kB)?\n)+",
    "stat": rf"(?:{_CPU_LINE})+(?:[a-z_]+(?: \d+)+\n)+",
    "swaps": r"Filename[^\n]*\n(?:none +virtual\t\t\d+\t\t?\d+\t\t?-2\n)?",
    "uptime": r"\d+\.\d\d \d+\.\d\d\n",
    "list": r"(?:\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)?\n",
}
#: Pressure and slabinfo are passed on as the kernel wrote them.
_ROWS: Final = [row for row in VIRTUAL_FILES if not row.pressure and not row.path.endswith("slabinfo")]
_TASKS: Final = (41, 42, 43)


def _form(row: VirtualFile) -> str:
    return _FORMS["list"] if row.path.startswith("sys/") else _FORMS[row.host_file]


class _World:
    """A container on one cgroup version, a host, and three tasks."""

    def __init__(self, version: str, top: Path) -> None:
        self.top = top
        self.groups: GroupTree = make_tree(version, top / "cgroup")
        for task in _TASKS:
            (top / f"proc/{task}/task/{task}").mkdir(parents=True)
        self.proc_fd = os.open(top / "proc", os.O_RDONLY)
        self.ledgers = LedgerFile(top / "ledgers", "boot", 4)
        self.set_tasks(b"7 (x) R 1\n", b"NSpid:\t7\t1\n")

    def set_tasks(self, stat: bytes, status: bytes) -> None:
        """Let all tasks say the same."""
        for task in _TASKS:
            (self.top / f"proc/{task}/task/{task}/stat").write_bytes(stat)
            (self.top / f"proc/{task}/status").write_bytes(status)

    def render(self, row: VirtualFile, host: HostSnapshot) -> bytes:
        """Render one file for a container that nobody has looked at yet; raises CgroupError."""
        reader = self.groups.reader
        container = Container(self.groups.paths, 41, 7, in_host_pid_namespace=False)
        tracker = LoadTracker(reader, Processes(self.proc_fd))
        builder = ViewBuilder(reader, tracker, ViewConfig(memory_high=True), self.ledgers)
        try:
            return row.render(builder.build(container, row, host), host)
        finally:
            builder.forget(container)
            self.ledgers.drop_ended(lambda _: False, 9)


@pytest.fixture(scope="module", params=["v1", "v2"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_World]:
    """Return a world of each version."""
    made = _World(request.param, tmp_path_factory.mktemp(request.param))
    yield made
    os.close(made.proc_fd)


def _host(changed: dict[str, bytes]) -> HostSnapshot:
    files: dict[str, Any] = {**_SNAPSHOT, **changed}
    pools = {2 * MIB: HugePool(10, 7, 3)}
    return HostSnapshot(**files, boottime_usec=1 << 40, online=CpuSet({0, 1}), huge_pools=pools)


def _check(row: VirtualFile, content: bytes) -> None:
    text = content.decode(errors="surrogateescape")
    assert re.fullmatch(_form(row), text), text
    checks = {"meminfo": check_meminfo, "swaps": check_swaps}
    if row.host_file in checks:
        checks[row.host_file](text)


@given(data=st.data())
def test_damaged_cgroup(data: st.DataObject, world: _World) -> None:
    """A damaged cgroup is told as such, or rendered as a file that is well-formed."""
    row = data.draw(st.sampled_from(_ROWS))
    names = data.draw(st.lists(st.sampled_from(sorted(world.groups.files)), max_size=4, unique=True))
    world.groups.write(
        {name: data.draw(st.none() | damaged([world.groups.files[name]]), name) for name in names}
    )
    try:
        content = world.render(row, _host({}))
    except CgroupError:
        return
    _check(row, content)


@given(data=st.data())
def test_damaged_tasks(data: st.DataObject, world: _World) -> None:
    """Whatever tasks call themselves, and however their files are damaged, the load is well-formed."""
    world.groups.write({})
    world.set_tasks(data.draw(damaged([b"7 (x) R 1\n"])), data.draw(damaged([b"Name:\tx\nNSpid:\t7\t1\n"])))
    for row in _ROWS:
        if row.needs_load:
            _check(row, world.render(row, _host({})))


@given(data=st.data())
def test_damaged_host(data: st.DataObject, world: _World) -> None:
    """Rendering a damaged file of the host fails for no reason of ours."""
    world.groups.write({})
    world.set_tasks(b"7 (x) R 1\n", b"NSpid:\t7\t1\n")
    row = data.draw(st.sampled_from([row for row in _ROWS if row.host_files]))
    names = [name.replace("/", "_") for name in row.host_files if name.replace("/", "_") in _SNAPSHOT]
    changed = {name: data.draw(damaged([_SNAPSHOT[name]])) for name in names}
    assert isinstance(world.render(row, _host(changed)), bytes)
