"""What containers see on a kernel with cgroup v2 alone, and with v1 and v2 side by side (guest.py)."""

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.guest import Guest
from tests.support.guests import Guests
from tests.support.invariants import check_meminfo

_UNIFIED = Guest(Path(__file__).with_name("v2_guest.py"))
_MIXED = Guest(Path(__file__).with_name("v2_guest.py"), ("mixed",))
pytestmark = [pytest.mark.guest(_UNIFIED), pytest.mark.guest(_MIXED)]

KIB = 1024
#: Statistics are exact to the kernel's per-CPU batches, and reading them takes memory too.
BATCH_KIB = 256

Facts = dict[str, Any]


@pytest.fixture(scope="module")
def unified(guests: Guests) -> Facts:
    """Return what was seen on cgroup v2 alone."""
    facts: Facts = json.loads(guests.output(_UNIFIED))
    return facts


@pytest.fixture(scope="module")
def mixed(guests: Guests) -> Facts:
    """Return what was seen with the CPU controllers on v1 and the others on v2."""
    facts: Facts = json.loads(guests.output(_MIXED))
    return facts


def amounts(meminfo: str) -> dict[str, int]:
    """Return the fields of a meminfo, KiB."""
    return {line.split(":")[0]: int(line.split()[1]) for line in meminfo.splitlines()}


def keyed(text: str) -> dict[str, int]:
    """Return the fields of a flat keyed file."""
    return {line.split()[0]: int(line.split()[1]) for line in text.splitlines()}


def test_total_is_the_smallest_limit(unified: Facts) -> None:
    """The container's limit, its parent's and the host's count, each at the read after it was changed."""
    memory = unified["memory"]
    shown = [amounts(memory[when])["MemTotal"] for when in ("meminfo", "lowered", "lowered above")]
    assert [64 * KIB, 20 * KIB, 16 * KIB] == shown
    assert amounts(memory["host"])["MemTotal"] == amounts(memory["unlimited"])["MemTotal"]


def test_memory_high(unified: Facts) -> None:
    """Where asked for, memory.high of the container and its parent counts, at the read after a change."""
    shown = {when: amounts(text)["MemTotal"] // KIB for when, text in unified["high"].items()}
    assert {"plain": 64, "high": 48, "lowered": 40, "lowered above": 36, "max": 64} == shown


@pytest.mark.parametrize(
    "field,statistic",
    [
        ("AnonPages", "anon"),
        ("Cached", "file"),
        ("Shmem", "shmem"),
        ("KernelStack", "kernel_stack"),
        ("PageTables", "pagetables"),
        ("Slab", "slab"),
    ],
)
def test_statistics_are_the_kernels(unified: Facts, field: str, statistic: str) -> None:
    """Each field is the cgroup's, and the container has some of each."""
    memory = unified["memory"]
    shown = amounts(memory["meminfo"])[field]
    kernel = [keyed(memory[when]["memory.stat"])[statistic] // KIB for when in ("before", "after")]
    assert min(kernel) - BATCH_KIB <= shown <= max(kernel) + BATCH_KIB
    assert shown > 0


def test_usage_is_the_kernels(unified: Facts) -> None:
    """What is not free is what the cgroup is charged; 28 MiB of it are known to be taken."""
    memory = unified["memory"]
    shown = amounts(memory["meminfo"])
    used = shown["MemTotal"] - shown["MemFree"]
    kernel = [int(memory[when]["memory.current"]) // KIB for when in ("before", "after")]
    assert min(kernel) - BATCH_KIB <= used <= max(kernel) + BATCH_KIB
    assert used >= 28 * KIB
    assert shown["AnonPages"] >= 24 * KIB
    assert 4 * KIB == shown["Shmem"]


def test_swap(unified: Facts) -> None:
    """Swap has its own limit, fills when memory is taken away, and swaps agrees with meminfo."""
    memory = unified["memory"]
    before, lowered = amounts(memory["meminfo"]), amounts(memory["lowered"])
    assert (24 * KIB, 24 * KIB) == (before["SwapTotal"], before["SwapFree"])
    used = lowered["SwapTotal"] - lowered["SwapFree"]
    assert abs(used - int(memory["lowered kernel"]["memory.swap.current"]) // KIB) <= BATCH_KIB
    assert used > 4 * KIB
    row = memory["lowered swaps"].splitlines()[1].split()
    assert str(24 * KIB) == row[2]
    assert abs(used - int(row[3])) <= BATCH_KIB


@pytest.mark.parametrize("when", ["meminfo", "lowered", "lowered above", "unlimited"])
def test_meminfo_holds_together(unified: Facts, when: str) -> None:
    """Nothing is above the total, and parts add up."""
    shown = check_meminfo(unified["memory"][when])
    assert list(amounts(unified["memory"]["host"])) == list(shown)


def test_host_process_sees_the_host(unified: Facts) -> None:
    """A process in the root cgroup is shown the host."""
    host, shown = (amounts(unified["memory"][name]) for name in ("host", "host through us"))
    assert (host["MemTotal"], host["SwapTotal"]) == (shown["MemTotal"], shown["SwapTotal"])
    assert host["SwapTotal"] > 24 * KIB


def cpu_seconds(look: Facts, name: str = "stat") -> tuple[float, float]:
    """Return what the first line of a stat says: time used, time idle."""
    words = look[name].splitlines()[0].split()
    return (int(words[1]) + int(words[3])) / 100, int(words[4]) / 100


def kernel_seconds(text: str) -> float:
    """Return the CPU time that the kernel counted, from cpu.stat or cpuacct.usage_all."""
    if text.startswith("usage_usec"):
        return keyed(text)["usage_usec"] / 1e6
    return sum(sum(map(int, line.split()[1:])) for line in text.splitlines()[1:]) / 1e9


@pytest.fixture(params=["unified", "mixed"])
def cpu(request: pytest.FixtureRequest) -> Facts:
    """Return the CPU facts of both machines, one after the other."""
    facts: Facts = request.getfixturevalue(request.param)["cpu"]
    return facts


def test_cpu_time_is_the_kernels(cpu: Facts) -> None:
    """User and system time are what the cgroup used; the busy loop is in it."""
    for when in ("start", "burnt", "slept"):
        low, high = map(kernel_seconds, cpu[when]["kernel"])
        assert low - 0.15 <= cpu_seconds(cpu[when])[0] <= high + 0.15
    assert cpu_seconds(cpu["burnt"])[0] - cpu_seconds(cpu["start"])[0] >= 0.3


@pytest.mark.parametrize("first,last", [("start", "burnt"), ("burnt", "slept")])
def test_idle_is_what_the_quota_left(cpu: Facts, first: str, last: str) -> None:
    """Of half a CPU, what was not used is idle: nearly nothing in a busy loop, all of it asleep."""
    passed = float(cpu[last]["uptime"].split()[0]) - float(cpu[first]["uptime"].split()[0])
    used, idle = (
        after - before for before, after in zip(cpu_seconds(cpu[first]), cpu_seconds(cpu[last]), strict=True)
    )
    assert abs(idle - max(0.0, passed / 2 - used)) <= 0.15


def test_uptime_agrees_with_stat(cpu: Facts) -> None:
    """Uptime is the container's age, and its idle time that of stat."""
    for when in ("start", "burnt", "slept"):
        up, idle = map(float, cpu[when]["uptime"].split())
        youngest, oldest = cpu[when]["age"]
        assert youngest - 0.1 <= up <= oldest + 0.1
        assert cpu_seconds(cpu[when])[1] <= idle <= cpu_seconds(cpu[when], "stat after")[1] + 0.01


def io_of(diskstats: str) -> list[int]:
    """Return reads, sectors read, writes and sectors written of the only line."""
    (line,) = diskstats.splitlines()
    words = line.split()
    assert "ubda" == words[2]
    return [int(words[index]) for index in (3, 5, 7, 9)]


@pytest.mark.parametrize("machine", ["unified", "mixed"])
def test_diskstats(machine: str, request: pytest.FixtureRequest) -> None:
    """The container's own disk I/O, to the byte; no line before there was any, though others did some."""
    io = request.getfixturevalue(machine)["io"]
    assert "" == io["unused"]
    kernel = dict(word.split("=") for word in io["kernel"].split()[1:])
    reads, read, writes, written = io_of(io["used"])
    assert (2 << 20, 4 << 20) == (read * 512, written * 512)
    assert [kernel[key] for key in ("rbytes", "wbytes")] == [str(read * 512), str(written * 512)]
    assert [kernel[key] for key in ("rios", "wios")] == [str(reads), str(writes)]


@pytest.mark.parametrize("machine", ["unified", "mixed"])
def test_loadavg(machine: str, request: pytest.FixtureRequest) -> None:
    """Running and all tasks are the container's own, threads included; the pid is its own number."""
    load = request.getfixturevalue(machine)["load"]
    assert 4 == load["tasks"] < int(load["host"].split()[3].split("/")[1])
    assert ["0/2", "1"] == load["idle"].split()[3:]
    # A thread is numbered after process 1.
    assert ["1/4", "3"] == load["threads"].split()[3:]
    assert "procs_running 1\nprocs_blocked 0\n" in load["stat"]


def test_threaded_cgroup_is_the_containers(unified: Facts) -> None:
    """Threads in a threaded cgroup, whose processes the kernel does not list, are counted."""
    load = unified["load"]
    assert errno.EOPNOTSUPP == load["procs"]
    assert ["1/4", "3"] == load["threaded"].split()[3:]


def test_controller_enabled_later(unified: Facts) -> None:
    """Without the controller the ancestor's limit and use are shown; once it is enabled, the container's."""
    late = unified["late"]
    before, enabled, disabled = (amounts(late[when]) for when in ("meminfo", "enabled", "disabled"))
    assert [80 * KIB, 48 * KIB, 80 * KIB] == [each["MemTotal"] for each in (before, enabled, disabled)]
    assert before["AnonPages"] >= 8 * KIB
    # What was charged before stays where it was charged.
    assert enabled["AnonPages"] < 8 * KIB <= disabled["AnonPages"]
    assert ("", "") == (late["diskstats"], late["disabled diskstats"])
    assert (4 << 20) == io_of(late["enabled diskstats"])[3] * 512


def test_invariants_under_load(unified: Facts) -> None:
    """While limits change and load of every kind runs, nothing contradicts itself or another file."""
    facts = unified["invariants"]
    assert facts["passes"] >= 20
    assert facts["compared"] > facts["passes"]
    changed = ("MemTotal", "MemAvailable", "SwapTotal", "SwapFree", "AnonPages", "Cached", "Shmem")
    assert 3 <= min(facts["different"][name] for name in changed), facts


def left(level: Facts, file: str = "memory") -> int | None:
    """Return what a level's limit leaves, KiB; None without a limit."""
    if level[f"{file}.max"] == "max\n":
        return None
    return max(0, int(level[f"{file}.max"]) - int(level[f"{file}.current"])) // KIB


def reclaimable(level: Facts) -> int:
    """Return what can be reclaimed at a level, KiB."""
    stat = keyed(level["memory.stat"])
    return sum(stat[name] for name in ("active_file", "inactive_file", "slab_reclaimable")) // KIB


@pytest.mark.parametrize("seed", range(4))
def test_least_of_all_levels(unified: Facts, seed: int) -> None:
    """Of a container at the third level, with siblings at each: the level that leaves least decides."""
    facts = unified["levels"][str(seed)]
    shown = check_meminfo(facts["meminfo"])
    assert list(facts["before"][2]) == list(facts["after"][2])
    free, available, swap = [], [], []
    for levels in (facts["before"], facts["after"]):
        host = min(amounts(text)["MemAvailable"] for text in facts["host"])
        usage = shown["MemTotal"] - int(levels[2]["memory.current"]) // KIB
        each = [(part, reclaimable(level)) for level in levels if (part := left(level)) is not None]
        available.append(min(usage + reclaimable(levels[2]), host, *(sum(pair) for pair in each)))
        free.append(min(usage, available[-1], *(part for part, _ in each)))
        swap.append(min(part for level in levels if (part := left(level, "memory.swap")) is not None))
    for name, expected in {"MemFree": free, "MemAvailable": available, "SwapFree": swap}.items():
        assert min(expected) - BATCH_KIB <= shown[name] <= max(expected) + BATCH_KIB, name


@pytest.mark.parametrize("machine", ["unified", "mixed"])
def test_every_field_is_recomputed(machine: str, request: pytest.FixtureRequest) -> None:
    """What `explain` says of every field gives its value, from the files that it names."""
    facts = request.getfixturevalue(machine)["explained"]
    counted = facts["counted"]
    whole = ("proc/meminfo", "proc/swaps", "proc/cpuinfo", "sys/devices/system/cpu/online")
    assert {} == {path: counted[path] for path in whole if len(set(counted[path])) > 1}
    assert counted["proc/stat"][0] >= 10
    assert counted["proc/uptime"][0] == 1
    assert "from the kernel:" in facts["text"]


def test_which_limit_won(unified: Facts) -> None:
    """The ancestor's limit is smaller than the container's."""
    bounds = {each["cgroup"]: (each["value"], each["won"]) for each in unified["explained"]["bounds"]}
    assert {"/explained": (80 << 20, True), "/explained/own": (90 << 20, False)} == bounds


def test_holder_beside_the_container(unified: Facts) -> None:
    """Where the top that it sees has controllers enabled, it goes to a group of its own below that."""
    assert {"problem": "", "membership": "0::/runtime/pylxcfs-holder\n"} == unified["holder"]


def test_daemon_in_a_cgroup_namespace(unified: Facts) -> None:
    """Through the host's mount a container beside ours is found; a mount of our own does not show it."""
    namespace = unified["namespace"]
    assert "0::/../../beside\n" == namespace["membership"]
    assert "/sys/fs/cgroup /../../.." == namespace["host's"]["mounts"]
    assert 40 * KIB == amounts(namespace["host's"]["beside"])["MemTotal"]
    assert "/sys/fs/cgroup /" == namespace["own"]["mounts"]
    host = amounts(unified["memory"]["host"])
    assert host["MemTotal"] == amounts(namespace["own"]["beside"])["MemTotal"]


@pytest.mark.parametrize(
    "machine,hierarchies",
    [
        ("unified", ["cgroup2 /sys/fs/cgroup"]),
        ("mixed", ["cgroup2 /sys/fs/cgroup", "cpu,cpuacct /run/cpu", "name=tracker /run/named"]),
    ],
)
def test_daemon_starts_and_ends_well(
    machine: str, hierarchies: list[str], request: pytest.FixtureRequest
) -> None:
    """It says what it found, complains of nothing but the controller that was not there, and unmounts."""
    daemon = request.getfixturevalue(machine)["daemon"]
    lines = daemon["log"].splitlines()
    found = [" ".join(line.split()[2:]) for line in lines if line.split()[1].rstrip(":").isdigit()]
    assert hierarchies == found
    warnings = [line for line in lines if "warning" in line or "error" in line]
    assert all("outer/inner/io.stat" in line for line in warnings), warnings
    assert (0, False) == (daemon["status"], daemon["mounted"])


def test_each_controller_where_it_lives(mixed: Facts) -> None:
    """Beside a v1 CPU controller the memory limit is still v2's."""
    assert 40 * KIB == amounts(mixed["meminfo"])["MemTotal"]
