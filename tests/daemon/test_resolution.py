"""Who asks is looked at every time, and what has changed meanwhile counts."""

import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pylxcfs.accounting.cpu_ledger_file import LedgerFile
from pylxcfs.config import ViewConfig
from pylxcfs.containers.inits import Init
from pylxcfs.containers.resolver import Resolver
from pylxcfs.content.engine import Engine, assemble
from pylxcfs.linux.files import read_boot_id
from pylxcfs.procfiles.table import VIRTUAL_FILES
from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container
from tests.support.readings import meminfo
from tests.support.waiting import wait_for

_MEMINFO, _STAT = (
    next(file for file in VIRTUAL_FILES if file.path == path) for path in ("proc/meminfo", "proc/stat")
)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    """Return an engine that renders every time; its ledgers are in `tmp_path`."""
    # A socket that nobody would close.
    monkeypatch.setattr("pylxcfs.content.engine._open_cgroup_stats", lambda: None)
    return assemble(ViewConfig(cache_ttl_seconds=0), ledgers=tmp_path / "ledgers")


def _total_mib(engine: Engine, container: Container) -> int:
    return meminfo(engine.render_for_pid(_MEMINFO, container.init_pid).decode())["MemTotal"] // 1024


def test_an_init_that_moves(
    engine: Engine, make_cgroup: Callable[..., Cgroup], make_container: Callable[..., Container]
) -> None:
    """The container is where its init is now, there and back."""
    container = make_container(Limits(memory=100 * MIB))
    other = make_cgroup(Limits(memory=200 * MIB))
    seen = [_total_mib(engine, container)]
    for group in (other, container.group) * 2:
        group.join(container.init_pid)
        seen.append(_total_mib(engine, container))
    assert [100, 200, 100, 200, 100] == seen


def test_another_caller(
    engine: Engine, make_cgroup: Callable[..., Cgroup], make_container: Callable[..., Container]
) -> None:
    """A caller in init's namespaces and another container's cgroup has not that of init."""
    container = make_container(Limits(memory=100 * MIB))
    other = make_cgroup(Limits(memory=200 * MIB))
    assert _total_mib(engine, container) == 100
    with container.start("cat") as sleeper:
        wait_for("cat runs", lambda: bool(psutil.Process(sleeper.pid).children()))
        (inside,) = psutil.Process(sleeper.pid).children()
        caller = inside.pid
        other.join(caller)
        try:
            theirs = meminfo(engine.render_for_pid(_MEMINFO, caller).decode())["MemTotal"] // 1024
            assert (200, 100) == (theirs, _total_mib(engine, container))
        finally:
            assert sleeper.stdin is not None
            sleeper.stdin.close()


def test_nothing_is_found_anew_where_nothing_has_changed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, make_container: Callable[..., Container]
) -> None:
    """The second look is the cheap one."""
    container = make_container(Limits(memory=100 * MIB))
    found: list[int] = []
    place = Resolver._place

    def count(self: Resolver, task: int, membership: bytes, init: Init) -> object:
        found.append(task)
        return place(self, task, membership, init)

    monkeypatch.setattr(Resolver, "_place", count)
    known = {id(engine.resolver.resolve(container.init_pid)) for _ in range(10)}
    assert (1, [container.init_pid]) == (len(known), found)


def test_ledger_of_a_container_that_is_found_anew(
    engine: Engine, tmp_path: Path, make_container: Callable[..., Container]
) -> None:
    """It stays in the file when the container is known no longer by what it was known by before."""
    container = make_container(Limits())
    before = engine.resolver.resolve(container.init_pid)
    assert before is not None
    engine.render_for_pid(_STAT, container.init_pid)
    engine.resolver.forget(before)
    assert before is not engine.resolver.resolve(container.init_pid)
    engine.render_for_pid(_STAT, container.init_pid)
    engine.prune()

    def kept() -> bool:
        cpus = os.sysconf("SC_NPROCESSORS_CONF")
        file = LedgerFile(tmp_path / "ledgers", read_boot_id(Path("/proc")), cpus)
        return file.load(before.key) is not None

    assert kept()
    container.kill()
    container.group.remove()
    engine.prune()
    assert not kept()
