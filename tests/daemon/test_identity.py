"""Who asks is placed by its own cgroup at every open, whatever others have read before."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pylxcfs.config import ViewConfig
from pylxcfs.containers.container import Container as Known
from pylxcfs.content.engine import Engine, assemble
from pylxcfs.procfiles.table import VIRTUAL_FILES
from tests.support.cgroups import MIB, Cgroup, Limits, find_layout
from tests.support.container import Container
from tests.support.daemon import Daemon
from tests.support.namespaces import Answerer, answering, as_init, entering, from_outside
from tests.support.readings import meminfo
from tests.support.waiting import wait_for

MakeCgroup = Callable[..., Cgroup]
MakeContainer = Callable[..., Container]

_FILES = {file.path: file for file in VIRTUAL_FILES}
_MEMINFO, _STAT = (_FILES[f"proc/{name}"] for name in ("meminfo", "stat"))


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Return an engine that renders every time."""
    # A socket that nobody would close.
    monkeypatch.setattr("pylxcfs.content.engine._open_cgroup_stats", lambda: None)
    return assemble(ViewConfig(cache_ttl_seconds=0))


def _mib(text: str) -> int:
    return meminfo(text)["MemTotal"] // 1024


def _of(engine: Engine, pid: int) -> int:
    return _mib(engine.render_for_pid(_MEMINFO, pid).decode())


def _known(engine: Engine, pid: int) -> Known:
    known = engine.resolver.resolve(pid)
    assert known is not None
    return known


@pytest.mark.needs("root-cgroup")
def test_init_without_its_main_thread(daemon: Daemon, make_cgroup: MakeCgroup) -> None:
    """A container whose process 1 goes on in other threads sees itself, and so does what enters it."""
    group = make_cgroup(Limits(memory=100 * MIB))
    with as_init(group.directories, leaderless=True) as init:
        wait_for("leader ends", lambda: b") Z " in Path(f"/proc/{init.pid}/stat").read_bytes())
        assert 100 == _mib(init.read(daemon.proc / "meminfo"))
        # Its own mount namespace is that of no leader, so another process of init's makes it from a thread.
        (thread,) = [tid for tid in os.listdir(f"/proc/{init.pid}/task") if int(tid) != init.pid]
        mounts = f"--mount=/proc/{init.pid}/task/{thread}/ns/mnt"
        enter = ("nsenter", f"--pid=/proc/{init.pid}/ns/pid", mounts)
        for directories in (group.directories, find_layout().tops):
            with answering(directories, *enter) as entered:
                assert 100 == _mib(entered.read(daemon.proc / "meminfo"))


def test_main_thread_of_init_ends_later(engine: Engine, make_cgroup: MakeCgroup) -> None:
    """A container that has been seen before its leader ended is the same afterwards."""
    group = make_cgroup(Limits(memory=100 * MIB))
    with as_init(group.directories, leaderless=True) as init:
        first = _known(engine, init.pid)
        wait_for("leader ends", lambda: b") Z " in Path(f"/proc/{init.pid}/stat").read_bytes())
        (thread,) = [int(tid) for tid in os.listdir(f"/proc/{init.pid}/task") if int(tid) != init.pid]
        assert first.key == _known(engine, thread).key
        engine.prune()
        assert engine.resolver.knows(first.key)
        assert 100 == _of(engine, thread)


def test_limited_cgroup_inside(
    daemon: Daemon, make_cgroup: MakeCgroup, make_container: MakeContainer
) -> None:
    """A process in a limited group of its own sees its limits, init its own, in every order."""
    container = make_container(Limits(memory=100 * MIB))
    other = make_cgroup(Limits(memory=200 * MIB))
    with (
        entering(container.init_pid, container.group.directories) as mine,
        entering(container.init_pid, other.directories) as theirs,
    ):
        path = daemon.proc / "meminfo"
        order = [theirs, mine, mine, theirs, theirs, mine] * 3
        assert [200, 100, 100, 200, 200, 100] * 3 == [_mib(each.read(path)) for each in order]


@pytest.mark.needs("two-cpus")
@pytest.mark.parametrize("limits", [Limits(cpu_quota=1), Limits(cpus="0")])
def test_cgroup_with_other_limits_inside(
    engine: Engine, make_cgroup: MakeCgroup, make_container: MakeContainer, limits: Limits
) -> None:
    """Any limit makes a group one of its own, and what it does not limit is still its own's."""
    container = make_container(Limits(memory=100 * MIB))
    other = make_cgroup(limits)
    with entering(container.init_pid, other.directories) as theirs:
        assert _of(engine, theirs.pid) > 100
        text = engine.render_for_pid(_FILES["proc/cpuinfo"], theirs.pid)
        assert (
            1
            == text.count(b"processor\t:")
            < engine.render_for_pid(_FILES["proc/cpuinfo"], container.init_pid).count(b"processor\t:")
        )


@pytest.mark.needs("root-cgroup")
def test_who_enters_from_the_root_cgroup(make_container: MakeContainer) -> None:
    """nsenter(1) shows the container, whether anybody has read before or not, and goes on to."""
    container = make_container(Limits(memory=100 * MIB))
    seen = [_mib(from_outside(container, "cat", "/proc/meminfo"))]
    seen.append(_mib(container.read("meminfo")))
    seen.append(_mib(from_outside(container, "cat", "/proc/meminfo")))
    # Longer than anything about who asks was ever kept.
    seen += map(_mib, from_outside(container, "sh", "-c", "sleep 1.5; cat /proc/meminfo").split("\0"))
    assert [100] * 4 == seen


def test_who_enters_from_a_session(
    daemon: Daemon, make_cgroup: MakeCgroup, make_container: MakeContainer
) -> None:
    """An administrator's session has groups of its own, but no limits: that is the container too."""
    container = make_container(Limits(memory=100 * MIB))
    session = make_cgroup(Limits())
    with entering(container.init_pid, session.directories) as administrator:
        for _ in range(3):
            assert 100 == _mib(administrator.read(daemon.proc / "meminfo"))
        session.set_memory(70 * MIB)
        assert 70 == _mib(administrator.read(daemon.proc / "meminfo"))


def test_branch_of_a_shared_pid_namespace(
    engine: Engine, make_cgroup: MakeCgroup, make_container: MakeContainer
) -> None:
    """A container without limits in another's pid namespace has its own mounts, and is one of its own."""
    pod = make_cgroup(Limits())
    pause = make_container(make_cgroup(Limits(), parent=pod, name="pause"))
    app = make_cgroup(Limits(), parent=pod, name="app")
    with entering(pause.init_pid, app.directories, "unshare", "--mount") as inside:
        paths = dict(_known(engine, inside.pid).paths)
        assert f"/{app.name}" == paths["memory"] == paths["cpu"]
    with entering(pause.init_pid, app.directories) as administrator:
        assert _known(engine, pause.init_pid) is _known(engine, administrator.pid)


@pytest.mark.needs("root-cgroup")
def test_init_in_the_root_cgroup(daemon: Daemon, make_cgroup: MakeCgroup) -> None:
    """It does not hide the limits of a process of its namespace, whoever reads first."""
    group = make_cgroup(Limits(memory=100 * MIB))
    path = daemon.proc / "meminfo"
    host = _mib(Path("/proc/meminfo").read_text())
    with as_init(find_layout().tops) as init, entering(init.pid, group.directories) as limited:
        order = [limited, init, limited, limited, init]
        assert [100, host, 100, 100, host] == [_mib(each.read(path)) for each in order]


def test_ended_containers_in_a_shared_group(engine: Engine, make_cgroup: MakeCgroup) -> None:
    """Containers are forgotten when they have ended, though their group lives on; no descriptor is kept."""
    group = make_cgroup(Limits(memory=100 * MIB))
    with as_init(group.directories) as alive:
        first = _known(engine, alive.pid)

        def open_files() -> int:
            # What nobody has asked for in between is closed at the second.
            engine.prune()
            engine.prune()
            return len(os.listdir("/proc/self/fd"))

        assert 100 == _of(engine, alive.pid)
        before = open_files()
        for _ in range(20):
            with as_init(group.directories) as short:
                assert 100 == _of(engine, short.pid)
                assert first is not _known(engine, short.pid)
        assert open_files() <= before
        assert 1 == engine.resolver.known
        assert first is _known(engine, alive.pid)


def test_the_living_stay(monkeypatch: pytest.MonkeyPatch, engine: Engine, make_cgroup: MakeCgroup) -> None:
    """However many containers have come and gone in a group, none that lives is forgotten for them."""
    monkeypatch.setattr("pylxcfs.containers.resolver.MAX_CONTAINERS", 4)
    group, shared = make_cgroup(Limits(memory=100 * MIB)), make_cgroup(Limits(memory=50 * MIB))
    with as_init(group.directories) as alive, as_init(shared.directories):
        first = _known(engine, alive.pid)
        for _ in range(10):
            with as_init(shared.directories) as short:
                assert 50 == _of(engine, short.pid)
        assert engine.resolver.knows(first.key)
        assert first is _known(engine, alive.pid)
        assert engine.resolver.known <= 4


def test_one_container_does_not_push_out_others(
    monkeypatch: pytest.MonkeyPatch, engine: Engine, make_cgroup: MakeCgroup
) -> None:
    """Who makes pid namespaces without end loses its own."""
    monkeypatch.setattr("pylxcfs.containers.resolver.MAX_CONTAINERS", 4)
    groups = [make_cgroup(Limits(memory=mib * MIB)) for mib in (40, 50)]
    with ExitStack() as stack:
        quiet = [stack.enter_context(as_init(group.directories)) for group in groups]
        known = [_known(engine, each.pid) for each in quiet]
        evil = make_cgroup(Limits(memory=30 * MIB))
        for _ in range(6):
            assert 30 == _of(engine, stack.enter_context(as_init(evil.directories)).pid)
        assert all(engine.resolver.knows(each.key) for each in known)
        assert engine.resolver.known <= 4


def test_group_that_is_called_deleted(
    engine: Engine, make_cgroup: MakeCgroup, make_container: MakeContainer
) -> None:
    """The kernel marks removed groups, and a group may be called like that mark."""
    outer = make_cgroup(Limits())
    container = make_container(make_cgroup(Limits(memory=100 * MIB), parent=outer, name="x (deleted)"))
    make_cgroup(Limits(memory=50 * MIB), parent=outer, name="x")
    assert 100 == _of(engine, container.init_pid)


@pytest.fixture
def starved() -> Iterator[Callable[[Daemon], None]]:
    """Take every descriptor from a server that it does not have yet."""
    limits: list[tuple[int, tuple[int, int]]] = []

    def starve(daemon: Daemon) -> None:
        pid = daemon.server_pid
        numbers = [int(name) for name in os.listdir(f"/proc/{pid}/fd")]
        # The lowest number that is not in use is the next, so only as many as there are holes are left.
        old = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(numbers), old[1]))
        limits.append((pid, old))

    yield starve
    for pid, old in limits:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, old)


def test_no_descriptor_left(
    start_daemon: Callable[..., Daemon], starved: Callable[[Daemon], None], make_cgroup: MakeCgroup
) -> None:
    """A server that may open nothing more shows containers themselves, known ones and new ones."""
    daemon = start_daemon("--cache-ttl", "0")
    path = daemon.proc / "meminfo"
    groups = [make_cgroup(Limits(memory=mib * MIB)) for mib in (40, 50, 60)]
    with ExitStack() as stack:

        def begin(group: Cgroup) -> Answerer:
            return stack.enter_context(as_init(group.directories))

        old = [begin(group) for group in groups[:2]]
        assert [40, 50] == [_mib(each.read(path)) for each in old]
        starved(daemon)
        new = begin(groups[2])
        assert [60, 40, 50, 60] == [_mib(each.read(path)) for each in (new, *old, new)]
