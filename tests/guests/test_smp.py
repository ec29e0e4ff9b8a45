"""What containers see on four CPUs with cgroup v2 alone, docker's among them (guest.py)."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.guest import QEMU, Guest
from tests.support.guests import Guests
from tests.support.readings import cpuinfo_cpus, meminfo, stat_cpus, swaps, uptime

_GUEST = Guest(Path(__file__).with_name("smp_guest.py"), machine=QEMU)
pytestmark = [pytest.mark.needs("dockerd"), pytest.mark.guest(_GUEST)]

KIB = 1024
#: Statistics are exact to the kernel's per-CPU batches.
BATCH_KIB = 256
#: Seconds; ticks are rounded on each CPU, and a quota is kept to in periods of 0.1 s.
BETWEEN = 0.25

Facts = dict[str, Any]


@pytest.fixture(scope="module")
def facts(guests: Guests) -> Facts:
    """Return what was seen in one boot."""
    seen: Facts = json.loads(guests.output(_GUEST))
    return seen


def cpu_list(text: str) -> list[int]:
    """Read a CPU list like ``0-1,3``."""
    ends = [list(map(int, part.split("-"))) for part in text.strip().split(",")]
    return [cpu for end in ends for cpu in range(end[0], end[-1] + 1)]


def numbered(names: list[str]) -> list[int]:
    """Return the numbers of those names that are ``cpu`` and a number."""
    return sorted(int(name[3:]) for name in names if name.startswith("cpu") and name[3:].isdigit())


def shown(look: Facts) -> list[int]:
    """Return the CPUs that a container is shown, the same in every file."""
    cpus = cpu_list(look["online"])
    assert cpus == cpuinfo_cpus(look["cpuinfo"])
    assert cpus == numbered(list(stat_cpus(look["stat"])))
    assert cpus == numbered(look["directories"])
    return cpus


@pytest.mark.parametrize(
    "step,expected",
    [
        ("nested", [2]),
        ("widened above", [2, 3]),
        ("inherited", [0, 1, 2, 3]),
        ("with a gap", [1, 3]),
        ("disjoint", [0]),
        ("all above", [1, 3]),
        ("one switched off", [1]),
        ("switched on", [1, 3]),
        ("invalid partition", [1, 3]),
    ],
)
def test_cpuset(facts: Facts, step: str, expected: list[int]) -> None:
    """The CPUs that a container may run on, at the read after each change."""
    look = facts["cpusets"][step]
    assert expected == shown(look)
    assert expected == look["affinity"]


@pytest.mark.parametrize(
    "step,expected,kernel",
    [
        ("before", [0, 1, 2, 3], "member"),
        ("beside", [0, 1, 2], "member"),
        ("inside", [3], "root"),
        ("dissolved", [0, 1, 2, 3], "member"),
    ],
)
def test_partition(facts: Facts, step: str, expected: list[int], kernel: str) -> None:
    """A CPU that a partition has taken is that of the containers in it alone."""
    look = facts["partitions"][step]
    assert kernel == look["kernel"]["cpuset.cpus.partition"].strip()
    assert expected == shown(look)


def test_partition_and_the_host(facts: Facts) -> None:
    """A process in the root cgroup sees every CPU; a service, like a container, those that it may run on."""
    assert [0, 1, 2] == cpuinfo_cpus(facts["partitions"]["service"]["cpuinfo"])
    assert [0, 1, 2, 3] == cpuinfo_cpus(facts["partitions"]["host"]["cpuinfo"])


def test_limits_of_the_parent_alone(facts: Facts) -> None:
    """Set and quota of a parent hold for a container whose own cgroup has no controllers."""
    look = facts["partitions"]["no controllers"]
    assert [1, 2, 3] == look["affinity"]
    assert [1, 2] == shown(look)


@pytest.mark.parametrize(
    "step,expected",
    [
        ("1.5", [0, 1]),
        ("0.5 above 1.5", [0]),
        ("3 above 1.5", [0, 1]),
        ("3 above 2.5 of another period", [0, 1, 2]),
        ("0.1", [0]),
        ("3 above 8", [0, 1, 2]),
        ("3 above none", [0, 1, 2]),
        ("none", [0, 1, 2, 3]),
        ("1.5 of a set", [1, 2]),
        ("4 of a set", [1, 2, 3]),
    ],
)
def test_quota(facts: Facts, step: str, expected: list[int]) -> None:
    """As many CPUs as the smallest quota can keep busy, at the read after each change."""
    assert expected == shown(facts["quotas"][step])


def seconds(stat: str) -> tuple[float, float]:
    """Return the time used and the idle time of a stat."""
    user, _, system, idle, *_ = stat_cpus(stat)["cpu"]
    return (user + system) / 100, idle / 100


def usage(kernel: str) -> float:
    """Return the CPU time of a cpu.stat, seconds."""
    return int(kernel.split()[1]) / 1e6


WINDOWS = {"asleep": 2.0, "two CPUs": 2.0, "quota of 1.5": 1.5, "asleep again": 2.0}


@pytest.mark.parametrize("window", WINDOWS)
def test_cpu_time_is_the_kernels(facts: Facts, window: str) -> None:
    """The sum over all CPUs grows by what the cgroup used."""
    first, last = facts["times"]["windows"][window]
    low = usage(last["kernel"][0]) - usage(first["kernel"][1])
    high = usage(last["kernel"][1]) - usage(first["kernel"][0])
    assert low - 0.05 <= seconds(last["stat"])[0] - seconds(first["stat"])[0] <= high + 0.05


@pytest.mark.parametrize("window", WINDOWS)
def test_idle_is_what_was_left(facts: Facts, window: str) -> None:
    """Idle is what the CPUs or the quota had and nobody used: nothing while busy."""
    first, last = facts["times"]["windows"][window]
    (began, idle_before), (ended, idle_after) = (map(float, look["uptime"].split()) for look in (first, last))
    could, idle = WINDOWS[window] * (ended - began), idle_after - idle_before
    least = seconds(last["stat"])[0] - seconds(first["stat after"])[0]
    most = seconds(last["stat after"])[0] - seconds(first["stat"])[0]
    assert could - most - BETWEEN <= idle <= max(0.0, could - least) + BETWEEN
    if not window.startswith("asleep"):
        assert idle <= BETWEEN


def test_uptime_agrees_with_stat(facts: Facts) -> None:
    """The idle time of uptime lies between those of the stats read before and after, whatever changes."""
    for look in facts["times"]["looks"]:
        idle = float(look["uptime"].split()[1])
        assert seconds(look["stat"])[1] <= idle <= seconds(look["stat after"])[1] + 0.01


def test_counters_never_go_back(facts: Facts) -> None:
    """Neither the sums nor any CPU's counters are ever smaller, whatever limits hide in between."""
    looks = facts["times"]["looks"]
    stats = [stat_cpus(look[name]) for look in looks for name in ("stat", "stat after")]
    assert {f"cpu{number}" for number in range(4)} | {"cpu"} == {name for stat in stats for name in stat}
    last: dict[str, list[int]] = {}
    for stat in stats:
        for name, now in stat.items():
            assert all(a <= b for a, b in zip(last.get(name, now), now, strict=True)), (name, last, now)
        last |= stat
    ups = [[float(number) for number in look["uptime"].split()] for look in looks]
    assert all(before[0] <= after[0] and before[1] <= after[1] for before, after in pairwise(ups))


def test_load_is_the_containers(facts: Facts) -> None:
    """Three busy processes of one container are no load of another."""
    load = facts["times"]["load"]
    one, _five, _fifteen, tasks, last_pid = load["busy"].split()
    assert 0 < float(one) <= 3
    # With process 1, and the one that waits for it.
    assert ("3/5", "4") == (tasks, last_pid)
    assert "procs_running 3\n" in load["stat"]
    assert "0.00 0.00 0.00 0/2 1\n" == load["idle"]


def io_of(diskstats: str) -> list[int]:
    """Return reads, sectors read, writes and sectors written of the only line."""
    (line,) = diskstats.splitlines()
    words = line.split()
    assert "vda" == words[2]
    return [int(words[index]) for index in (3, 5, 7, 9)]


def test_diskstats(facts: Facts) -> None:
    """Between two readings a container did exactly its own disk I/O; before it did any it has no disk."""
    io = facts["io"]
    assert "" == io["unused"]
    first, second = io_of(io["first"]), io_of(io["second"])
    assert (2 << 20, 4 << 20) == (first[1] * 512, first[3] * 512)
    assert (3 << 20, 6 << 20) == ((second[1] - first[1]) * 512, (second[3] - first[3]) * 512)
    kernel = dict(word.split("=") for word in io["kernel"].split()[1:])
    assert [second[0], second[2]] == [int(kernel[name]) for name in ("rios", "wios")]
    assert (1 << 20, 2 << 20) == (io_of(io["beside"])[1] * 512, io_of(io["beside"])[3] * 512)


@pytest.mark.parametrize("step,total_mib", [("huge", 24), ("swapping", 24), ("less above", 12), ("none", 0)])
def test_swap_limits(facts: Facts, step: str, total_mib: int) -> None:
    """Swap is the smallest limit's, what is used is the kernel's count cut to it, and both files agree."""
    look = facts["memory"][step]
    fields = meminfo(look["meminfo"])
    total, used = fields["SwapTotal"], fields["SwapTotal"] - fields["SwapFree"]
    assert total_mib * KIB == total
    kernel = [int(each["memory.swap.current"]) // KIB for each in look["kernel"]]
    low, high = (min(total, amount) for amount in (min(kernel), max(kernel)))
    assert low - BATCH_KIB <= used <= high + BATCH_KIB
    assert total == swaps(look["swaps"])[0]
    assert abs(used - swaps(look["swaps"])[1]) <= max(kernel) - min(kernel) + BATCH_KIB
    if step == "swapping":
        assert used >= 8 * KIB


def test_swap_without_limit(facts: Facts) -> None:
    """Without a limit it is the host's."""
    host = meminfo(facts["host"]["root"]["before"]["meminfo"])["SwapTotal"]
    assert host == meminfo(facts["memory"]["unlimited"]["meminfo"])["SwapTotal"] > 24 * KIB


def test_memory_high(facts: Facts) -> None:
    """With --memory-high it is a limit like memory.max."""
    steps = ("unlimited", "throttled")
    assert [64 * KIB, 60 * KIB] == [meminfo(facts["memory"][step]["meminfo"])["MemTotal"] for step in steps]


@pytest.mark.parametrize(
    "step,total,free", [("host", 8, 8), ("fresh", 4, 4), ("taken", 4, 3), ("less", 2, 1)]
)
def test_hugetlb(facts: Facts, step: str, total: int, free: int) -> None:
    """As many huge pages as the hugetlb controller allows, less those taken."""
    fields = meminfo(facts["hugetlb"][step])
    assert (total, free) == (fields["HugePages_Total"], fields["HugePages_Free"])
    assert total * 2 * KIB == fields["Hugetlb"]


def pressure_total(text: str) -> int:
    """Return for how long some tasks have waited, microseconds."""
    found = re.search(r"^some .* total=(\d+)", text, re.MULTILINE)
    assert found is not None, text
    return int(found[1])


@pytest.mark.parametrize("name", ["cpu", "memory", "io"])
@pytest.mark.parametrize("container", ["busy", "idle"])
def test_pressure(facts: Facts, container: str, name: str) -> None:
    """Pressure is that of the container's cgroup."""
    look = facts["times"]["pressure"][container]
    low, high = (pressure_total(each[f"{name}.pressure"]) for each in look["kernel"])
    assert low <= pressure_total(look["shown"][name]) <= high


def test_pressure_of_busy_processes(facts: Facts) -> None:
    """Three that want two CPUs wait for a CPU, which is no pressure of a container beside them."""
    busy, idle = (facts["times"]["pressure"][name]["shown"]["cpu"] for name in ("busy", "idle"))
    assert pressure_total(idle) < pressure_total(busy) > 100_000


def test_transparent_huge_pages(facts: Facts) -> None:
    """AnonHugePages is the container's, and part of AnonPages."""
    look = facts["memory"]["huge"]
    fields = meminfo(look["meminfo"])
    kernel = [re.search(r"^anon_thp (\d+)", each["memory.stat"], re.MULTILINE) for each in look["kernel"]]
    counts = [int(found[1]) // KIB for found in kernel if found]
    assert min(counts) <= fields["AnonHugePages"] <= max(counts)
    assert 0 < fields["AnonHugePages"] <= fields["AnonPages"]


def test_host_process_sees_the_host(facts: Facts) -> None:
    """In the root cgroup it reads what the kernel says."""
    look = facts["host"]["root"]
    before, ours, after = (look[name] for name in ("before", "ours", "after"))
    for name in ("cpuinfo", "diskstats", "swaps"):
        assert ours[name] in {before[name], after[name]}
    for name in ("MemTotal", "SwapTotal"):
        assert meminfo(before["meminfo"])[name] == meminfo(ours["meminfo"])[name]
    assert list(meminfo(before["meminfo"])) == list(meminfo(ours["meminfo"]))
    assert set(stat_cpus(before["stat"])) == set(stat_cpus(ours["stat"]))
    loads = [each["loadavg"].split()[0] for each in (before, after)]
    assert ours["loadavg"].split()[0] in loads
    assert uptime(before["uptime"]) <= uptime(ours["uptime"]) <= uptime(after["uptime"])


def test_service_without_limits_has_the_whole_host(facts: Facts) -> None:
    """In a cgroup that limits nothing there is all memory, all swap, every CPU."""
    look = facts["host"]["service"]
    host, ours = (meminfo(look[side]["meminfo"]) for side in ("before", "ours"))
    assert (host["MemTotal"], host["SwapTotal"]) == (ours["MemTotal"], ours["SwapTotal"])
    assert [0, 1, 2, 3] == cpuinfo_cpus(look["ours"]["cpuinfo"])
    assert numbered(list(stat_cpus(look["ours"]["stat"]))) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "when,memory,swap,cpus,nproc",
    [
        ("fresh", 100, 20, [0, 1], 2),
        ("less memory", 64, 0, [0, 1], 2),
        # nproc asks for the CPUs allowed, not for time.
        ("fewer CPUs", 64, 0, [0], 2),
        ("other CPUs", 64, 0, [1, 2, 3], 3),
        ("restarted", 64, 0, [1, 2, 3], 3),
    ],
)
def test_docker(facts: Facts, when: str, memory: int, swap: int, cpus: list[int], nproc: int) -> None:  # noqa: PLR0913, PLR0917 - a table
    """Docker's limits show in every file, at the read after `docker update`, and after `docker restart`."""
    look = facts["docker"][when]
    fields = meminfo(look["meminfo"])
    assert (memory * KIB, swap * KIB) == (fields["MemTotal"], fields["SwapTotal"])
    assert swap * KIB == swaps(look["swaps"])[0]
    assert cpus == cpu_list(look["cpu/online"]) == cpuinfo_cpus(look["cpuinfo"])
    assert cpus == numbered(list(stat_cpus(look["stat"])))
    assert nproc == int(look["nproc"])


def test_docker_free(facts: Facts) -> None:
    """Procps' free shows the container's memory and swap."""
    _titles, memory, swap = (line.split() for line in facts["docker"]["free"].splitlines())
    assert (100 * KIB, 20 * KIB) == (int(memory[1]), int(swap[1]))
    assert 0 < int(memory[2]) < 50 * KIB < int(memory[3])


def test_docker_top(facts: Facts) -> None:
    """A container that burns all the CPU time that it may have is shown no idle time by top."""
    _before, summary = re.findall(r"^%Cpu\(s\):.*", facts["docker"]["top"], re.MULTILINE)
    shares = {name: float(share) for share, name in re.findall(r"([\d.]+) (us|sy|ni|id|wa)", summary)}
    assert 0 < int(re.findall(r"nr_throttled (\d+)", facts["docker"]["throttled"])[0])
    assert shares["us"] + shares["sy"] >= 85
    assert shares["id"] <= 15
    assert re.search(r"^MiB Mem : +100\.0 total", facts["docker"]["top"], re.MULTILINE)


def test_docker_restart(facts: Facts) -> None:
    """Uptime is the age of the container's new first process."""
    look = facts["docker"]["restarted"]
    young, old = look["age"]
    assert young - 0.1 <= uptime(look["uptime"]) <= old + 0.1


def test_docker_namespaces(facts: Facts) -> None:
    """Cgroup namespaces change nothing: the container's own (the default), the host's, or ours."""
    docker = facts["docker"]
    assert "0::/\n" == docker["membership inside"]
    assert docker["membership"].startswith("0::/containers/")
    assert 100 * KIB == meminfo(docker["from a namespace"])["MemTotal"]
    text, _, membership = docker["host's namespace"].partition("0::")
    assert membership.startswith("/containers/")
    assert 100 * KIB == meminfo(text)["MemTotal"]


def test_daemon_in_a_container(facts: Facts) -> None:
    """A daemon in a cgroup namespace of its own is removed and replaced, and its holder lives on."""
    seen = facts["docker"]["daemon in a container"]
    assert seen["namespace"]
    assert "0::/\n" == seen["holder"]
    assert "will not survive" not in seen["log"]
    totals = [meminfo(seen[when])["MemTotal"] for when in ("before", "meanwhile", "after")]
    assert [100 * KIB] * 3 == totals


def test_daemon_has_nothing_to_complain_of(facts: Facts) -> None:
    """It logs its start and its end, and unmounts."""
    daemon = facts["daemon"]
    assert (0, False) == (daemon["status"], daemon["mounted"])
    assert not [line for line in daemon["log"].splitlines() if "warning" in line or "error" in line]
