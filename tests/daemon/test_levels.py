"""Limits above a container that its siblings use up, in real groups."""

import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container, joining
from tests.support.daemon import Daemon
from tests.support.invariants import check_meminfo
from tests.support.readings import meminfo, swaps

KIB = 1024
#: Usage is exact to the kernel's per-CPU batches, and reading takes memory too.
SLACK = 2 * MIB

#: Takes anonymous memory and page cache, MiB each, in a directory, and keeps them until its input ends.
_TAKE = """
import mmap, os, sys
anonymous, cached, directory = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
memory = mmap.mmap(-1, max(1, anonymous) << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for offset in range(0, anonymous << 20, 4096):
    memory[offset] = 1 + offset % 251
with open(f"{directory}/{os.getpid()}", "wb") as file:
    for _ in range(cached):
        file.write(os.urandom(1 << 20))
    file.flush()
    os.fsync(file.fileno())
print("taken", flush=True)
sys.stdin.read()
"""

Make = Callable[..., Cgroup]


@contextmanager
def using(group: Cgroup, directory: Path, *, anonymous: int = 0, cached: int = 0) -> Iterator[None]:
    """Run a process in `group` that uses so many MiB."""
    command = [sys.executable, "-ISc", _TAKE, str(anonymous), str(cached), str(directory)]
    with subprocess.Popen(
        joining(group.directories, *command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            assert "taken\n" == process.stdout.readline()
            yield
        finally:
            process.kill()


def left(group: Cgroup) -> tuple[int, int]:
    """Return what a group's limit leaves: free, and with what can be reclaimed."""
    now = group.memory_use()
    assert now.max is not None
    return max(0, now.max - now.current), max(0, now.max - now.current + now.reclaimable)


def shown(container: Container) -> dict[str, int]:
    """Return the container's meminfo in bytes, with the invariants checked."""
    return {name: kib * KIB for name, kib in check_meminfo(container.read("meminfo")).items()}


@pytest.fixture
def uncached(start_daemon: Callable[..., Daemon]) -> Daemon:
    """Run a daemon that renders at every read."""
    return start_daemon("--cache-ttl", "0")


def test_a_sibling_uses_up_the_pods_limit(
    uncached: Daemon,
    make_cgroup: Make,
    make_container: Callable[..., Container],
    new_directory: Callable[[str], Path],
) -> None:
    """What a sibling takes of the limit above is not available; total and own use stay the container's."""
    pod = make_cgroup(Limits(memory=200 * MIB))
    own = make_cgroup(Limits(memory=150 * MIB), parent=pod)
    sibling = make_cgroup(Limits(), parent=pod)
    container = make_container(own, served=uncached.proc)
    directory = new_directory("files")
    before = shown(container)
    with using(sibling, directory, anonymous=120, cached=20):
        after = shown(container)
        free, available = left(pod)
        assert 150 * MIB == before["MemTotal"] == after["MemTotal"]
        assert abs(before["AnonPages"] - after["AnonPages"]) <= SLACK
        assert abs(after["MemFree"] - free) <= SLACK
        assert abs(after["MemAvailable"] - available) <= SLACK
        assert after["MemAvailable"] <= 80 * MIB
        # Its page cache can be given up for the container, its other memory cannot.
        assert after["MemAvailable"] - after["MemFree"] >= 18 * MIB
    assert abs(shown(container)["MemFree"] - before["MemFree"]) <= 25 * MIB


def test_never_more_than_the_host_has(
    uncached: Daemon, make_cgroup: Make, make_container: Callable[..., Container]
) -> None:
    """Where no limit holds, what others on the host use is not available either."""
    container = make_container(make_cgroup(Limits()), served=uncached.proc)
    before = meminfo(Path("/proc/meminfo").read_text())["MemAvailable"] * KIB
    now = shown(container)
    after = meminfo(Path("/proc/meminfo").read_text())["MemAvailable"] * KIB
    assert now["MemFree"] <= now["MemAvailable"] <= max(before, after) + 64 * MIB
    assert now["MemAvailable"] < now["MemTotal"] - 100 * MIB


@pytest.mark.parametrize("seed", range(4))
def test_random_trees(
    uncached: Daemon,
    make_cgroup: Make,
    make_container: Callable[..., Container],
    new_directory: Callable[[str], Path],
    seed: int,
) -> None:
    """Three levels with limits or without, and use at each: the least of all counts."""
    rng = random.Random(seed)  # noqa: S311 - a tree that can be made again
    directory = new_directory("files")
    limits = [rng.choice([None, rng.randrange(90, 200) * MIB]) for _ in range(3)]
    limits[rng.randrange(2)] = 100 * MIB
    top = make_cgroup(Limits(memory=limits[0]))
    middle = make_cgroup(Limits(memory=limits[1]), parent=top)
    own = make_cgroup(Limits(memory=limits[2]), parent=middle)
    container = make_container(own, served=uncached.proc)
    with (
        using(make_cgroup(Limits(), parent=top), directory, anonymous=rng.randrange(40), cached=5),
        using(make_cgroup(Limits(), parent=middle), directory, anonymous=rng.randrange(30), cached=3),
        using(own, directory, anonymous=rng.randrange(10), cached=rng.randrange(10)),
    ):
        now = shown(container)
        set_limits = [limit for limit in limits if limit is not None]
        groups = [group for group in (top, middle, own) if group.memory_use().max is not None]
        assert min(set_limits) == now["MemTotal"]
        used = own.memory_use()
        free = min(now["MemTotal"] - used.current, *(left(group)[0] for group in groups))
        available = min(
            now["MemTotal"] - used.current + used.reclaimable, *(left(group)[1] for group in groups)
        )
        assert abs(now["MemFree"] - free) <= SLACK
        assert abs(now["MemAvailable"] - available) <= SLACK


@pytest.mark.usefixtures("swap")
def test_siblings_use_up_swap_above(
    uncached: Daemon,
    make_cgroup: Make,
    make_container: Callable[..., Container],
    new_directory: Callable[[str], Path],
) -> None:
    """What siblings have swapped out of a limit above is not free, in meminfo and swaps alike."""
    pod = make_cgroup(Limits(memory=64 * MIB, swap=32 * MIB))
    own = make_cgroup(Limits(), parent=pod)
    container = make_container(own, served=uncached.proc)
    assert shown(container)["SwapFree"] >= 31 * MIB
    with using(make_cgroup(Limits(), parent=pod), new_directory("files"), anonymous=80):
        now = shown(container)
        size, used = swaps(container.read("swaps"))
        assert 32 * MIB == now["SwapTotal"]
        assert now["SwapFree"] <= 18 * MIB
        assert (now["SwapTotal"], now["SwapTotal"] - now["SwapFree"]) == (size * KIB, used * KIB)
