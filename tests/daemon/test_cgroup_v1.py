"""What only machines with cgroup v1 have; on others this runs in a guest (tests/guests/test_layouts.py)."""

import errno
import os
import select
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import psutil
import pytest

from pylxcfs.cgroup.taskstats import CgroupStats
from pylxcfs.cgroup.types import TaskCounts
from pylxcfs.config import ViewConfig
from pylxcfs.content.engine import assemble
from pylxcfs.procfiles.table import VIRTUAL_FILES
from tests.support.cgroupreader import reader_of
from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container, joining
from tests.support.daemon import Daemon
from tests.support.namespaces import entering
from tests.support.pressure import TRIGGER, program, watching, zeros
from tests.support.tasks import count_load
from tests.support.waiting import wait_for

_PRESSURE = next(file for file in VIRTUAL_FILES if file.path == "proc/pressure/cpu")


def _membership(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def test_the_kernels_count_is_that_of_the_tasks(make_cgroup: Callable[..., Cgroup]) -> None:
    """Where every task is in a plain state, cgroupstats and the tasks themselves say the same."""
    group = make_cgroup(Limits())
    nested = make_cgroup(Limits(), parent=group, name="nested")
    with ExitStack() as stack:
        for where in (nested, nested, group):
            process = stack.enter_context(
                subprocess.Popen(joining(where.directories, "cat"), stdin=subprocess.PIPE)
            )
            assert process.stdin is not None
            stack.callback(process.stdin.close)
        wait_for("it is in the group", lambda: f"/{group.name}\n" in _membership(process.pid))
        counting, paths = reader_of(process.pid, stack.enter_context(closing(CgroupStats())))
        asking, _ = reader_of(process.pid)

        def counted_by_the_kernel() -> list[TaskCounts | None]:
            walk = counting.walk_tasks(paths)
            return [group.counts for group in iter(walk.step, None)]

        expected = [TaskCounts(0, 0, 1), TaskCounts(0, 0, 2)]
        wait_for("all wait", lambda: counted_by_the_kernel() == expected)
        walk = asking.walk_tasks(paths)
        assert all(group.counts is None for group in iter(walk.step, None))
        assert TaskCounts(0, 0, 3) == count_load(asking, paths)


def test_frozen_below_or_beside_are_no_load(
    make_container: Callable[..., Container], make_cgroup: Callable[..., Cgroup]
) -> None:
    """Tasks that a freezer has stopped in a nested group, or in one beside the container's, are no load."""
    container = make_container(Limits())
    below = make_cgroup(Limits(), parent=container.group, name="below")
    beside = make_cgroup(Limits())
    reader, paths = reader_of(container.init_pid)
    with ExitStack() as stack:
        burning = []
        for _ in range(2):
            command = container.command("python3", "-ISc", "print(flush=True)\nwhile True: pass")
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
            stack.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
            (inner,) = psutil.Process(process.pid).children()
            stack.callback(inner.kill)
            burning.append(inner.pid)
        # Only in the freezer's hierarchy is the second one elsewhere.
        for group, pid in zip((below, beside), burning, strict=True):
            (group.path("freezer") / "cgroup.procs").write_text(str(pid))
        with below.frozen(), beside.frozen():
            frozen = count_load(reader, paths)
        wait_for("both run again", lambda: count_load(reader, paths).running >= 2)
    assert (0, 0) == (frozen.running, frozen.blocked)
    assert 2 <= frozen.total


@pytest.mark.needs("pressure")
@pytest.mark.parametrize("resource", ["cpu", "io", "memory"])
def test_without_a_cgroup2_group_there_is_no_pressure(
    daemon: Daemon, make_container: Callable[..., Container], resource: str
) -> None:
    """A container in the root of the cgroup2 hierarchy sees zeros and not the host's numbers."""
    host = Path("/proc/pressure", resource).read_text()
    container = make_container(Limits())
    assert container.run("cat", f"{daemon.proc}/pressure/{resource}") == zeros(host)


@pytest.mark.needs("pressure")
def test_no_trigger_without_a_cgroup2_group(
    start_daemon: Callable[..., Daemon], make_container: Callable[..., Container]
) -> None:
    """A container in the root of the cgroup2 hierarchy can set no trigger on the host's pressure."""
    file = start_daemon("--enable-psi-poll", "--cache-ttl", "0").proc / "pressure/cpu"
    with watching(make_container(Limits()).command(*program(file))) as watcher:
        assert watcher.write(TRIGGER) == os.strerror(errno.EOPNOTSUPP)
        assert watcher.poll(0) == [select.POLLPRI | select.POLLERR]


@pytest.mark.needs("pressure")
@pytest.mark.parametrize("where", ["root", "other"])
def test_other_v2_group_than_init(
    monkeypatch: pytest.MonkeyPatch,
    make_cgroup: Callable[..., Cgroup],
    make_container: Callable[..., Container],
    where: str,
) -> None:
    """What a runtime runs in a container and leaves in another v2 group is the same container."""
    # A socket that nobody would close.
    monkeypatch.setattr("pylxcfs.content.engine._open_cgroup_stats", lambda: None)
    engine = assemble(ViewConfig(cache_ttl_seconds=0))
    group = make_cgroup(Limits(memory=100 * MIB))
    without_v2 = group.directories
    group.make_unified()
    container = make_container(group)
    unified = group.layout.unified
    assert unified is not None
    other = unified.top if where == "root" else make_cgroup(Limits()).make_unified()
    for more in ((), ("unshare", "--mount")):
        with entering(container.init_pid, [*without_v2, other], *more) as executed:
            known = engine.resolver.resolve(executed.pid)
            assert known is not None
            assert known is engine.resolver.resolve(container.init_pid)
            assert 1 == engine.resolver.known
            first, second = (
                engine.render_for_pid(_PRESSURE, pid) for pid in (container.init_pid, executed.pid)
            )
            assert first.count(b"total=") == second.count(b"total=") > 0
