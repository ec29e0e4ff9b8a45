"""From a task's number to its container, over a /proc and cgroups in a directory."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import CgroupPaths
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import HeldProcess, Processes
from pylxcfs.containers.resolver import Resolver

_HIERARCHIES = ("memory", "cpu", "cpuset")
_HOST, _MOUNTS = 1000, 5000


class _Processes(Processes):
    """Knows the inits that a test wrote down."""

    inits: dict[int, int]

    def find_init(self, member: HeldProcess) -> int:
        """Return the init of a namespace."""
        return self.inits[member.namespace("pid")]


class _Machine:
    """Processes and cgroups that are made one by one; inits are real, so that they can end."""

    def __init__(self, root: Path) -> None:
        self.proc = root / "proc"
        self.root = root
        self.proc.mkdir()
        for name in _HIERARCHIES:
            (root / name).mkdir()
            (root / name / "release_agent").touch()
        self.group("/", memory=1 << 63)
        self.add(1, "/", _HOST)
        self.add("self", "/", _HOST)
        self._proc_fd = os.open(self.proc, os.O_RDONLY)
        self.processes = _Processes(self._proc_fd)
        self.processes.inits = {}
        self.files = CgroupFiles({name: str(root / name) for name in _HIERARCHIES}, 64)
        self.resolver = Resolver(self.processes, V1Reader(self.files), self.files, {"memory", "cpu"})
        self._running: list[subprocess.Popen[bytes]] = []

    def group(self, path: str, *, memory: int = 1 << 63, quota: int = -1) -> str:
        """Make a cgroup."""
        for name in _HIERARCHIES:
            (self.root / name / path.strip("/")).mkdir(exist_ok=True)
        where = self.root / "memory" / path.strip("/")
        (where / "memory.stat").write_text(f"hierarchical_memory_limit {memory}\n")
        (where / "memory.usage_in_bytes").write_text("0\n")
        cpu = self.root / "cpu" / path.strip("/")
        (cpu / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (cpu / "cpu.cfs_period_us").write_text("100000\n")
        return path

    def add(self, pid: int | str, path: str, pid_namespace: int, mounts: int = _MOUNTS) -> None:
        """Make a process."""
        directory = self.proc / str(pid)
        (directory / "ns").mkdir(parents=True, exist_ok=True)
        for kind, number in (("pid", pid_namespace), ("mnt", mounts)):
            (directory / "ns" / kind).unlink(missing_ok=True)
            (directory / "ns" / kind).symlink_to(f"{kind}:[{number}]")
        (directory / "stat").write_text(f"{pid} (x) S 1 {'0 ' * 17}77 0\n")
        self.move(pid, path)

    def move(self, pid: int | str, path: str, **others: str) -> None:
        """Put a process into a cgroup, and another in some hierarchies."""
        paths = dict.fromkeys(_HIERARCHIES, path) | others | {"unknown": "/u"}
        text = "".join(f"1:{name}:{path}\n" for name, path in paths.items())
        # In place: /proc/PID/cgroup is kept open.
        (self.proc / str(pid) / "cgroup").write_text(text)

    def begin(self, path: str, pid_namespace: int) -> int:
        """Begin a pid namespace; return its init."""
        running = subprocess.Popen(["sleep", "infinity"])
        self._running.append(running)
        self.add(running.pid, path, pid_namespace)
        self.processes.inits[pid_namespace] = running.pid
        return running.pid

    def end(self, init: int) -> None:
        """End it."""
        (running,) = (each for each in self._running if each.pid == init)
        running.kill()
        running.wait()

    def path_of(self, pid: int) -> str | None:
        """Return the memory cgroup of the container that a process is in."""
        container = self.resolver.resolve(pid)
        return None if container is None else container.paths.get("memory")

    def close(self) -> None:
        """End everything."""
        for running in self._running:
            running.kill()
            running.wait()
        os.close(self._proc_fd)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[_Machine]:
    """Return a machine with nothing on it."""
    made = _Machine(tmp_path)
    yield made
    made.close()


def test_host_processes(machine: _Machine) -> None:
    """Each has its own cgroup, whoever asks in it; in the root it has none, and sees the host."""
    machine.group("/a")
    machine.add(10, "/a", _HOST)
    machine.add(11, "/a/init.scope", _HOST)
    machine.add(12, "/", _HOST)
    first = machine.resolver.resolve(10)
    assert first is machine.resolver.resolve(10) is machine.resolver.resolve(11)
    assert first is not None
    assert (True, 1, 77) == (first.in_host_pid_namespace, first.init_pid, first.init_start_ticks)
    assert (None, None) == (machine.resolver.resolve(12), machine.resolver.resolve(12))
    # The host's own init is in the root too.
    assert machine.resolver.resolve(1) is None
    assert (1, 0) == (machine.resolver.known, machine.resolver.unresolved)
    machine.move(10, machine.group("/b"))
    assert "/b" == machine.path_of(10)
    # Hierarchies that nothing is read from change nobody.
    assert set(_HIERARCHIES) == {name for name, _ in first.paths}


def test_who_cannot_be_told(machine: _Machine) -> None:
    """Invisible processes, and those that have gone, are counted and see the host."""
    assert [None] * 3 == [machine.resolver.resolve(pid) for pid in (0, -1, 999)]
    assert (3, 0) == (machine.resolver.unresolved, machine.resolver.guessed)
    machine.add(10, "/a", _HOST)
    (machine.proc / "10/cgroup").write_text("damaged\n")
    assert machine.resolver.resolve(10) is None
    assert 4 == machine.resolver.unresolved


def test_members(machine: _Machine) -> None:
    """Init, who is in its cgroup or below it, and who is in the root, are one container."""
    init = machine.begin(machine.group("/a", memory=100), 2000)
    for pid, path in ((10, "/a"), (11, "/a/b"), (12, "/")):
        machine.add(pid, path, 2000, mounts=pid)
    first = machine.resolver.resolve(11)
    assert [first] * 4 == [machine.resolver.resolve(pid) for pid in (init, 10, 11, 12)]
    assert first is not None
    assert ("/a", init, 77, False) == (
        first.paths.get("memory"),
        first.init_pid,
        first.init_start_ticks,
        first.in_host_pid_namespace,
    )
    assert 1 == machine.resolver.known


def test_hierarchies_that_do_not_decide(machine: _Machine) -> None:
    """Another group there makes no other container."""
    init = machine.begin(machine.group("/a", memory=100), 2000)
    machine.add(10, "/a", 2000, mounts=1)
    machine.move(10, "/a", cpuset="/elsewhere")
    assert machine.resolver.resolve(init) is machine.resolver.resolve(10) is not None


@pytest.mark.parametrize(
    "limits,mounts,expected",
    [
        ({}, _MOUNTS, "/a"),
        ({"memory": 200}, _MOUNTS, "/b"),
        ({"quota": 50000}, _MOUNTS, "/b"),
        ({}, 1, "/b"),
    ],
)
def test_beside_init(machine: _Machine, limits: dict[str, int], mounts: int, expected: str) -> None:
    """Limits or mounts of its own make a container; without them, it is who has entered this one."""
    init = machine.begin(machine.group("/a", memory=100), 2000)
    machine.group("/b", **limits)
    machine.add(10, "/b", 2000, mounts)
    for _ in range(2):
        assert ("/a", expected) == (machine.path_of(init), machine.path_of(10))
    assert (2 if expected == "/b" else 1) == machine.resolver.known
    machine.group("/b", memory=150)
    assert "/b" == machine.path_of(10)


def test_limits_above_both(machine: _Machine) -> None:
    """What limits both makes neither a container of its own."""
    machine.group("/pod", memory=100)
    init = machine.begin(machine.group("/pod/pause", memory=100), 2000)
    machine.add(10, machine.group("/pod/app", memory=100), 2000)
    assert machine.resolver.resolve(init) is machine.resolver.resolve(10)
    machine.add(11, "/pod/app", 2000, mounts=1)
    assert ("/pod/app", "/pod/pause") == (machine.path_of(11), machine.path_of(10))


def test_init_in_the_root(machine: _Machine) -> None:
    """It claims nobody, in no hierarchy that decides."""
    init = machine.begin("/", 2000)
    machine.add(10, machine.group("/a"), 2000)
    assert ("/a", "/") == (machine.path_of(10), machine.path_of(init))
    machine.move(init, "/", cpu="/a")
    machine.move(10, "/b", cpu="/a")
    machine.group("/b")
    assert "/b" == machine.path_of(10)


def test_what_moves_is_seen_at_once(machine: _Machine) -> None:
    """Neither the asker's place nor init's is remembered."""
    init = machine.begin(machine.group("/a", memory=100), 2000)
    machine.group("/b", memory=200)
    machine.add(10, "/a/x", 2000)
    assert ("/a", "/a") == (machine.path_of(init), machine.path_of(10))
    machine.move(init, "/b")
    assert "/b" == machine.path_of(init)
    machine.move(10, "/b/y")
    assert "/b" == machine.path_of(10)


def test_the_ended_are_forgotten(machine: _Machine) -> None:
    """A container ends with its init, though its cgroup goes on; the host's cgroups when removed."""
    group = machine.group("/a", memory=100)
    inits = [machine.begin(group, number) for number in (2000, 2001)]
    first, second = (machine.resolver.resolve(init) for init in inits)
    assert first is not None is not second is not first
    assert [] == machine.resolver.prune()
    machine.end(inits[0])
    assert [first] == machine.resolver.prune()
    assert [] == machine.resolver.prune()
    assert not machine.resolver.knows(first.key)
    assert machine.resolver.resolve(inits[1]) is second
    machine.add(10, machine.group("/b"), _HOST)
    host = machine.resolver.resolve(10)
    for name in _HIERARCHIES:
        for file in (machine.root / name / "b").iterdir():
            file.unlink()
        (machine.root / name / "b").rmdir()
    assert [host] == machine.resolver.prune()
    assert host is not machine.resolver.resolve(10)


def test_forgotten_is_found_anew(machine: _Machine) -> None:
    """A container whose cgroup has gone is another object afterwards, with the same key; twice is once."""
    init = machine.begin(machine.group("/a", memory=100), 2000)
    machine.add(10, machine.group("/b"), _HOST)
    for pid in (init, 10):
        before = machine.resolver.resolve(pid)
        assert before is not None
        machine.resolver.forget(before)
        machine.resolver.forget(before)
        after = machine.resolver.resolve(pid)
        assert after is not None
        assert (before.key, False) == (after.key, before is after)
        assert [before] == machine.resolver.prune()


def test_bound_of_containers(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ended go first, then the oldest of the fullest cgroup, and never the one that has just come."""
    monkeypatch.setattr("pylxcfs.containers.resolver.MAX_CONTAINERS", 3)
    quiet = [machine.begin(machine.group(f"/q{n}", memory=9), 2000 + n) for n in range(2)]
    known = [machine.resolver.resolve(init) for init in quiet]
    full = machine.group("/full", memory=9)
    crowd = [machine.begin(full, 3000 + n) for n in range(3)]
    for init in crowd:
        last = machine.resolver.resolve(init)
        assert last is not None
        assert machine.resolver.knows(last.key)
        assert machine.resolver.known <= 3
    assert known == [machine.resolver.resolve(init) for init in quiet]
    machine.end(quiet[0])
    machine.resolver.resolve(machine.begin(machine.group("/new", memory=9), 4000))
    assert [False, True] == [machine.resolver.knows(each.key) for each in known if each is not None]
    assert machine.resolver.known <= 3


def test_half_of_a_crowd_makes_room(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many in one cgroup the older half is forgotten at once, the others are kept."""
    monkeypatch.setattr("pylxcfs.containers.resolver.MAX_CONTAINERS", 5)
    full = machine.group("/full", memory=9)
    crowd = [machine.resolver.resolve(machine.begin(full, 3000 + n)) for n in range(6)]
    assert [False] * 3 + [True] * 3 == [
        machine.resolver.knows(each.key) for each in crowd if each is not None
    ]


def test_bound_where_all_are_alone(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of containers that have a cgroup each, whoever has not asked for longest is forgotten."""
    monkeypatch.setattr("pylxcfs.containers.resolver.MAX_CONTAINERS", 3)
    inits = [machine.begin(machine.group(f"/q{n}", memory=9), 2000 + n) for n in range(4)]
    first, second, third = (machine.resolver.resolve(init) for init in inits[:3])
    assert machine.resolver.resolve(inits[0]) is first
    machine.resolver.resolve(inits[3])
    dropped = machine.resolver.prune()
    assert [second] == dropped
    assert third is machine.resolver.resolve(inits[2])


def test_bound_of_texts(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with very many cgroups has not as many remembered, and is the same in all."""
    monkeypatch.setattr("pylxcfs.containers.resolver._MAX_MEMBERSHIPS", 3)
    monkeypatch.setattr("pylxcfs.containers.resolver._MAX_HOST_MEMBERSHIPS", 3)
    init = machine.begin(machine.group("/a", memory=100), 2000)
    assert machine.resolver._inits.get(2000) is None
    first = machine.resolver.resolve(init)
    found = machine.resolver._inits.get(2000)
    assert found is not None
    machine.add(10, "/a", 2000)
    machine.add(11, "/", _HOST)
    for number in range(9):
        machine.move(10, f"/a/{number}")
        assert machine.resolver.resolve(10) is first
        assert len(found.containers) <= 3
        machine.move(11, f"/{number}")
        assert machine.resolver.resolve(11) is not None
        assert len(machine.resolver._host_memberships) <= 3


Fail = Callable[[int], None]


@pytest.fixture
def fail(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> Fail:
    """Let the next look at who asks fail, as often as told."""
    look = machine.resolver._askers.look
    left = 0

    def maybe(task: int) -> tuple[int, bytes]:
        nonlocal left
        if left:
            left -= 1
            raise OSError(errno.EMFILE, "no more")
        return look(task)

    def prepare(times: int) -> None:
        nonlocal left
        left = times

    monkeypatch.setattr(machine.resolver._askers, "look", maybe)
    return prepare


def test_no_descriptor_at_first(machine: _Machine, fail: Fail) -> None:
    """Where caches can be given up for it, the answer is exact."""
    init = machine.begin(machine.group("/a", memory=100), 2000)
    fail(1)
    assert "/a" == machine.path_of(init)
    assert (0, 0) == (machine.resolver.unresolved, machine.resolver.guessed)


def test_no_descriptor_at_all(machine: _Machine, fail: Fail) -> None:
    """The only container that is known in the namespace is taken; where there are more, none."""
    init = machine.begin(machine.group("/a", memory=100), 2000)
    fail(2)
    assert machine.resolver.resolve(init) is None
    known = machine.resolver.resolve(init)
    fail(2)
    assert machine.resolver.resolve(init) is known is not None
    assert (1, 1) == (machine.resolver.unresolved, machine.resolver.guessed)
    machine.group("/b", memory=200)
    machine.add(10, "/b", 2000)
    assert "/b" == machine.path_of(10)
    fail(2)
    assert machine.resolver.resolve(init) is None
    fail(2)
    assert machine.resolver.resolve(999) is None
    assert (3, 1) == (machine.resolver.unresolved, machine.resolver.guessed)


def test_container_of_another_key(machine: _Machine) -> None:
    """Nobody else is known."""
    init = machine.begin(machine.group("/a", memory=100), 2000)
    known = machine.resolver.resolve(init)
    assert known is not None
    other = Container(CgroupPaths.of({}), init, 77, in_host_pid_namespace=False)
    assert (True, False) == tuple(machine.resolver.knows(each.key) for each in (known, other))
