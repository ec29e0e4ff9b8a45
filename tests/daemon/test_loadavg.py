"""Load averages of real containers."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pylxcfs.accounting.load_average import Averages, LoadAverage
from pylxcfs.cgroup.types import TaskCounts
from tests.support.asking import ask
from tests.support.cgroupreader import reader_of
from tests.support.cgroups import Cgroup, Limits
from tests.support.container import Container, joining, run_on_host
from tests.support.daemon import Daemon
from tests.support.tasks import count_load
from tests.support.waiting import wait_for

MakeCgroup = Callable[..., Cgroup]
MakeContainer = Callable[..., Container]

_BURN = "print('ready', flush=True)\nwhile True: pass"
_SLEEP = "import time; print('ready', flush=True); time.sleep(1e6)"
_THREADS = """
import threading
for _ in range(4):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
input()
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """One /proc/loadavg."""

    averages: tuple[float, float, float]
    running: int
    total: int
    last_pid: int

    @classmethod
    def of(cls, text: str) -> Self:
        """Parse it strictly."""
        one, five, fifteen, tasks, last_pid = text.removesuffix("\n").split(" ")
        running, total = tasks.split("/")
        return cls((float(one), float(five), float(fifteen)), int(running), int(total), int(last_pid))


@contextmanager
def doing(container: Container, program: str, count: int = 1, group: Cgroup | None = None) -> Iterator[None]:
    """Run a Python program inside so many times, each known to have begun."""
    with ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(start(container, program, group))
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield


@contextmanager
def start(container: Container, program: str, group: Cgroup | None) -> Iterator[subprocess.Popen[str]]:
    """Start one of them; end it with the test, or the container."""
    command = container.command(sys.executable, "-I", "-S", "-c", program, group=group)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            # The process in the pid namespace is nsenter's child.
            subprocess.run(["pkill", "-KILL", "-P", str(process.pid)], check=False)
            process.kill()


def load(container: Container) -> Reading:
    """Read it from inside."""
    return Reading.of(container.read("loadavg"))


def procs(container: Container) -> dict[str, int]:
    """Read procs_running and procs_blocked from inside."""
    lines = (line.split() for line in container.read("stat").splitlines())
    return {words[0]: int(words[1]) for words in lines if words[0].startswith("procs_")}


def test_busy_container_beside_an_idle_one(make_container: MakeContainer) -> None:
    """Two busy loops raise the load as the kernel's formula has it; the idle neighbour stays at zero."""
    busy, idle = make_container(Limits()), make_container(Limits())
    began = time.monotonic()
    assert (0.0, 0.0, 0.0) == load(busy).averages
    assert (0.0, 0.0, 0.0) == load(idle).averages
    with doing(busy, _BURN, 2):
        values = []

        def risen() -> bool:
            values.append(load(busy).averages[0])
            return values[-1] > 0.1

        wait_for("load rises", risen)
        assert values == sorted(values)
        # What the formula makes of one task too many at every sample that there was time for.
        samples = 1 + int((time.monotonic() - began) / 5.0)
        most = LoadAverage(Averages(0, 0, 0), 0.0).advance(4, (samples - 1) * 5.0).averages.one
        assert values[-1] <= most / 2048 + 0.01
        # Once a reader can be scheduled beside them, two is what is counted.
        wait_for("both are counted", lambda: load(busy).running >= 2)
        wait_for("both are counted", lambda: procs(busy)["procs_running"] >= 2)
        reading = load(busy)
        assert reading.averages[0] >= reading.averages[1] >= reading.averages[2] > 0
        assert (0.0, 0.0, 0.0) == load(idle).averages
        wait_for("nobody runs beside", lambda: procs(idle) == {"procs_running": 0, "procs_blocked": 0})


def test_first_reading_of_a_container_that_was_busy_long(make_container: MakeContainer) -> None:
    """Its first reader sees what ran on average so far, not zero."""
    container = make_container(Limits())
    with doing(container, _BURN):
        # Not yet followed: uptime asks for no load.
        wait_for("two periods pass", lambda: float(container.read("uptime").split()[0]) >= 10)
        one, five, fifteen = load(container).averages
        # One task at two samples would be 0.15 0.03 0.01; it did not always get a CPU.
        assert 0.02 < one <= 0.2
        assert one >= five >= fifteen


def test_tasks_are_the_containers(make_container: MakeContainer, make_cgroup: MakeCgroup) -> None:
    """Threads and nested cgroups count, neighbours and the host do not; pids are those seen inside."""
    container = make_container(Limits())
    alone = load(container)
    nested = make_cgroup(Limits(), parent=container.group, name="nested")
    with doing(container, _THREADS), doing(container, _SLEEP, 2, nested):
        # Five threads and two sleepers, and for each whatever entered the namespace with it.
        wait_for("all are counted", lambda: load(container).total >= alone.total + 7)
        reading = load(container)
        inside = {int(name) for name in container.run("ls", "/proc").split() if name.isdigit()}
        # `ls` was born later than the reader, so its number is the higher one.
        assert 1 < reading.last_pid < max(inside)
        assert reading.total < alone.total + 20


def test_uninterruptible_tasks_are_load(make_container: MakeContainer) -> None:
    """A task that waits for its child in vfork(2) is in killable sleep: blocked, and part of the load."""
    program = """
import ctypes, os
print("ready", flush=True)
os.close(1)
libc = ctypes.CDLL(None)
if libc.vfork() == 0:
    libc.pause()
"""
    container = make_container(Limits())
    with doing(container, program):
        wait_for("one is blocked", lambda: procs(container)["procs_blocked"] >= 1)


def test_frozen_tasks_are_no_load(make_container: MakeContainer) -> None:
    """Tasks of a paused container may show as uninterruptible, but are no load, as for the kernel."""
    container = make_container(Limits())
    reader, paths = reader_of(container.init_pid)
    with doing(container, _BURN, 2), container.group.frozen():
        counts = count_load(reader, paths)
    assert TaskCounts(0, 0, counts.total) == counts
    assert counts.total >= 3


def test_many_nested_cgroups(daemon: Daemon, make_container: MakeContainer) -> None:
    """A container with very many cgroups is counted to the end, and no request of anybody is long for it."""
    container = make_container(Limits())
    top = container.group.path("cpu")
    paths = [top / f"{number}" for number in range(2000)]
    try:
        for path in paths:
            path.mkdir()
        alone = load(container)
        with doing(container, _THREADS):
            wait_for("all are counted", lambda: load(container).total >= alone.total + 5)
            server = ask(daemon, "status").document["server"]
            assert 0 == server["failed"]
            wait_for(
                "it is no estimate", lambda: ask(daemon, "status").document["server"]["estimated_loads"] == 0
            )
    finally:
        for path in paths:
            path.rmdir()


def test_disabled_shows_the_hosts_averages_and_no_host_pid(
    make_container: MakeContainer, start_daemon: Callable[..., Daemon]
) -> None:
    """--disable-loadavg gives the host's averages; tasks and pid stay the container's."""
    daemon = start_daemon("--disable-loadavg")
    container = make_container(Limits(), served=daemon.proc)
    before = Path("/proc/loadavg").read_text().split()[:3]
    text = container.read("loadavg")
    after = Path("/proc/loadavg").read_text().split()[:3]
    assert text.split()[:3] in (before, after)
    assert Reading.of(text).total < 10
    assert Reading.of(text).last_pid < 100


def test_averages_survive_a_restart(start_daemon: Callable[..., Daemon], make_cgroup: MakeCgroup) -> None:
    """The next daemon continues where the last one stopped."""
    group = make_cgroup(Limits())
    first = start_daemon()

    def one(daemon: Daemon) -> float:
        return Reading.of(run_on_host("cat", f"{daemon.proc}/loadavg", group=group)).averages[0]

    one(first)
    command = joining(group.directories, sys.executable, "-I", "-S", "-c", _BURN)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as burning:
        try:
            wait_for("load rises", lambda: one(first) > 0.05)
            before = one(first)
            first.stop()
            assert before <= one(start_daemon(mount_point=first.mount_point))
        finally:
            burning.kill()
