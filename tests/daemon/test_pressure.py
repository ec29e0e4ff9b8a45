"""Pressure, and triggers on it, in real containers on a real cgroup2 mount."""

import errno
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.support.cgroups import Cgroup, Limits, find_layout
from tests.support.container import Container, joining, run_on_host
from tests.support.daemon import Daemon
from tests.support.pressure import RESOURCES, TRIGGER, UNTIL_AN_EVENT, program, watching, zeros
from tests.support.waiting import wait_for

MakeCgroup = Callable[..., Cgroup]
MakeContainer = Callable[..., Container]

NOBODY: Final = 65534
PLAIN: Final = select.POLLIN | select.POLLOUT
POLLED: Final = PLAIN | select.POLLPRI
_BURN: Final = "while :; do :; done"

pytestmark = pytest.mark.needs("pressure")


@pytest.fixture
def make_own(make_cgroup: MakeCgroup) -> Callable[[], Cgroup]:
    """Make cgroups on CPU 0 that are in the cgroup2 hierarchy too."""

    def make() -> Cgroup:
        group = make_cgroup(Limits(cpus="0"))
        group.make_unified()
        return group

    return make


@pytest.fixture
def polled(start_daemon: Callable[..., Daemon]) -> Daemon:
    """Run a daemon that lets containers set triggers."""
    return start_daemon("--enable-psi-poll", "--cache-ttl", "0")


@contextmanager
def busy(group: Cgroup, processes: int = 3) -> Iterator[None]:
    """Keep more processes busy in a group than it has CPUs."""
    command = joining(group.directories, "sh", "-c", _BURN)
    running = [subprocess.Popen(command) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def totals(text: str) -> dict[str, int]:
    """Return the total of each line, microseconds."""
    return {line.split()[0]: int(line.rpartition("=")[2]) for line in text.splitlines()}


def pressure_descriptors(daemon: Daemon, group: Cgroup) -> int:
    """Count what the daemon has open for writing of a group's pressure files."""
    count = 0
    for process in (psutil.Process(daemon.process.pid), *psutil.Process(daemon.process.pid).children()):
        for entry in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                target = os.readlink(entry)
                flags = int((entry.parent.parent / "fdinfo" / entry.name).read_text().split()[3], 8)
            except FileNotFoundError:
                continue
            count += (
                target.endswith(".pressure") and group.name in target and flags & os.O_ACCMODE == os.O_RDWR
            )
    return count


def test_the_files_of_this_kernel(daemon: Daemon) -> None:
    """There are as many pressure files as the kernel has, readable by all and writable by nobody."""
    assert {"cpu", "io", "memory"} <= set(RESOURCES)
    assert sorted(os.listdir(daemon.proc / "pressure")) == list(RESOURCES)
    assert {os.stat(daemon.proc / "pressure" / name).st_mode for name in RESOURCES} == {0o100444}


def test_pressure_of_the_container(
    make_own: Callable[[], Cgroup], make_container: MakeContainer, start_daemon: Callable[..., Daemon]
) -> None:
    """Processes that share one CPU are seen waiting for it, as long as the kernel says of their cgroup."""
    served = start_daemon("--cache-ttl", "0").proc
    group = make_own()
    container = make_container(group)
    kernel = group.make_unified() / "cpu.pressure"
    with busy(group):
        wait_for("pressure", lambda: totals(kernel.read_text())["some"] > 100_000)
        before = kernel.read_text()
        shown = container.run("cat", f"{served}/pressure/cpu")
        after = kernel.read_text()
    for name in totals(before):
        assert totals(before)[name] <= totals(shown)[name] <= totals(after)[name]
    assert totals(shown)["some"] > 0
    idle = make_container(make_own())
    assert totals(idle.run("cat", f"{served}/pressure/cpu"))["some"] < totals(shown)["some"]


def test_pressure_bound_over_the_containers_own(
    daemon: Daemon, make_own: Callable[[], Cgroup], make_container: MakeContainer
) -> None:
    """The directory can be bound over /proc/pressure as a whole, where a runtime lets one."""
    group = make_own()
    container = make_container(group)
    bind = f"mount --bind {daemon.proc}/pressure /proc/pressure && cat /proc/pressure/io"
    assert (
        container.run("sh", "-c", bind, own_mounts=True) == (group.make_unified() / "io.pressure").read_text()
    )


def test_pressure_that_was_turned_off(
    start_daemon: Callable[..., Daemon], make_own: Callable[[], Cgroup], make_container: MakeContainer
) -> None:
    """While cgroup.pressure is 0 there are zeros; and the cgroup's own again after that."""
    served = start_daemon("--cache-ttl", "0").proc
    group = make_own()
    container = make_container(group)
    with busy(group):
        kernel = group.make_unified() / "cpu.pressure"
        wait_for("pressure", lambda: totals(kernel.read_text())["some"] > 0)
        assert totals(container.run("cat", f"{served}/pressure/cpu"))["some"] > 0
        (group.make_unified() / "cgroup.pressure").write_text("0")
        shown = container.run("cat", f"{served}/pressure/cpu")
        assert shown == zeros(shown)
        (group.make_unified() / "cgroup.pressure").write_text("1")
        wait_for("pressure", lambda: totals(kernel.read_text())["some"] > 0)
        assert totals(container.run("cat", f"{served}/pressure/cpu"))["some"] > 0


@pytest.mark.needs("root-cgroup")
def test_host_processes(daemon: Daemon, make_own: Callable[[], Cgroup]) -> None:
    """In the root cgroups the host's pressure is seen, in a cgroup of its own a process sees that one's."""
    before = totals(Path("/proc/pressure/cpu").read_text())
    shown = totals(run_on_host("cat", str(daemon.proc / "pressure/cpu")))
    after = totals(Path("/proc/pressure/cpu").read_text())
    assert before["some"] <= shown["some"] <= after["some"]
    own = totals(run_on_host("cat", str(daemon.proc / "pressure/cpu"), group=make_own()))
    assert own["some"] < before["some"]


@pytest.mark.parametrize("kind", ["poll", "epoll"])
@pytest.mark.parametrize("user", [0, NOBODY])
def test_a_trigger_fires(
    polled: Daemon, make_own: Callable[[], Cgroup], make_container: MakeContainer, kind: str, user: int
) -> None:
    """Any user in a container can wait for pressure, and is woken when there is some."""
    group = make_own()
    container = make_container(group)
    command = container.command(*program(polled.proc / "pressure/cpu", user=user, kind=kind))
    with watching(command) as watcher:
        assert watcher.write(TRIGGER + "\n") == len(TRIGGER) + 1
        assert watcher.poll(0) == []
        watcher.order("poll", UNTIL_AN_EVENT)
        with busy(group):
            assert watcher.hear() == [select.POLLPRI]
        assert pressure_descriptors(polled, group) == 1
        # Files can be read meanwhile, by others and by who waits.
        assert container.run("cat", f"{polled.proc}/pressure/cpu")
    wait_for("trigger is removed", lambda: pressure_descriptors(polled, group) == 0)


def test_a_trigger_fires_for_its_container_only(
    polled: Daemon, make_own: Callable[[], Cgroup], make_container: MakeContainer
) -> None:
    """Pressure in one container is no event in another."""
    strained, calm = make_own(), make_own()
    file = polled.proc / "pressure/cpu"
    with (
        watching(make_container(strained).command(*program(file))) as one,
        watching(make_container(calm).command(*program(file))) as other,
    ):
        # All of the time: the machine itself may be busy.
        assert other.write("some 2000000 2000000") == 20
        assert one.write(TRIGGER) == len(TRIGGER)
        with busy(strained):
            assert one.poll(UNTIL_AN_EVENT) == [select.POLLPRI]
            assert other.poll(0) == []


def test_what_is_no_trigger(
    polled: Daemon, make_own: Callable[[], Cgroup], make_container: MakeContainer
) -> None:
    """Windows that cost a real-time thread and rubbish are EINVAL; one file has one trigger."""
    with watching(make_container(make_own()).command(*program(polled.proc / "pressure/memory"))) as watcher:
        assert watcher.poll(0) == [select.POLLPRI | select.POLLERR]
        for text in ("some 150000 1000000", "some 1 12000000", "rubbish"):
            assert watcher.write(text) == os.strerror(errno.EINVAL)
        assert watcher.write(TRIGGER) == len(TRIGGER)
        assert watcher.write(TRIGGER) == os.strerror(errno.EBUSY)
        assert watcher.poll(0) == []


@pytest.mark.needs("root-cgroup")
def test_no_trigger_on_the_host(polled: Daemon) -> None:
    """Without a cgroup2 group of its own a process of the host can set no trigger."""
    with watching(joining(find_layout().tops, *program(polled.proc / "pressure/cpu"))) as watcher:
        assert watcher.write(TRIGGER) == os.strerror(errno.EOPNOTSUPP)
        assert watcher.poll(0) == [select.POLLPRI | select.POLLERR]


def test_the_end_of_a_cgroup_ends_its_trigger(
    polled: Daemon, make_own: Callable[[], Cgroup], make_cgroup: Callable[..., Cgroup]
) -> None:
    """Who waits for pressure in a cgroup that is removed is woken by an error."""
    group = make_own()
    command = joining(group.directories, *program(polled.proc / "pressure/cpu"))
    with watching(command) as watcher:
        assert watcher.write(TRIGGER) == len(TRIGGER)
        watcher.order("poll", UNTIL_AN_EVENT)
        other = make_cgroup(Limits())
        other.make_unified()
        other.join(watcher.process.pid)
        group.make_unified().rmdir()
        assert watcher.hear() == [select.POLLPRI | select.POLLERR]
        assert pressure_descriptors(polled, group) == 0


def test_a_container_may_set_so_many_triggers(
    polled: Daemon, make_own: Callable[[], Cgroup], make_container: MakeContainer
) -> None:
    """A container has 32 triggers at most, and what it has closed counts no more."""
    take = f"""
import os
def take(count):
    files = [os.open({str(polled.proc / "pressure/io")!r}, os.O_RDWR) for _ in range(count)]
    for file in files:
        os.write(file, {TRIGGER.encode()!r})
    return files
held = take(32)
try:
    take(1)
except OSError as error:
    print(error.errno)
os.close(held.pop())
take(1)
"""
    container = make_container(make_own())
    assert container.run(sys.executable, "-I", "-S", "-c", take) == f"{errno.ENOSPC}\n"


def test_other_files_are_polled_as_in_proc(polled: Daemon) -> None:
    """Where triggers are allowed, every other file is always ready, and nobody may write to it."""
    poller = select.poll()
    with (polled.proc / "meminfo").open("rb") as ours, Path("/proc/meminfo").open("rb") as kernels:
        poller.register(ours, POLLED)
        poller.register(kernels, POLLED)
        assert [events for _, events in poller.poll(0)] == [PLAIN, PLAIN]
    assert {os.stat(polled.proc / "pressure" / name).st_mode for name in RESOURCES} == {0o100666}
    assert os.stat(polled.proc / "meminfo").st_mode == 0o100444


def test_without_the_option_there_are_no_triggers(
    daemon: Daemon, make_own: Callable[[], Cgroup], make_container: MakeContainer
) -> None:
    """Writing is refused, and polling tells of no event."""
    container = make_container(make_own())
    with watching(container.command(*program(daemon.proc / "pressure/cpu"))) as watcher:
        assert watcher.write(TRIGGER) == os.strerror(errno.EIO)
        assert watcher.poll(0) == []
