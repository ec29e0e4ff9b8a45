"""Runs inside a machine with four CPUs and cgroup v2, and prints what containers there saw, as JSON.

We are in a cgroup as a service is, on CPUs 2 and 3.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from tests.guests.docker_guest import docker_facts
from tests.support.inside import (
    MIB,
    MOUNT,
    V2,
    Container,
    burner,
    direct_io,
    end,
    kernel,
    make,
    put,
    start_daemon,
    stop_daemon,
)

SERVICES = V2 / "services"
PROC = Path("/proc")
CPU3 = Path("/sys/devices/system/cpu/cpu3/online")
FILES = ("cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime")

Facts = dict[str, Any]
Answer = TypeVar("Answer")


def cpus(container: Container, own: Path) -> Facts:
    """Return what names CPUs to a container, and what the kernel says."""
    return {
        "cpuinfo": container.read("cpuinfo"),
        "stat": container.read("stat"),
        "online": container.ask("see", "sys/devices/system/cpu/online"),
        "directories": json.loads(container.ask("list", "sys/devices/system/cpu")),
        "affinity": json.loads(container.ask("affinity")),
        "kernel": kernel(own, "cpuset.cpus.effective", "cpu.max", "cpuset.cpus.partition"),
    }


def cpuset_facts() -> Facts:
    """CPU sets at two levels, changed under way; CPUs switched off."""
    pod = make(V2 / "sets", cpuset__cpus="1-2", cgroup__subtree_control="+cpuset +cpu +memory")
    own = make(pod / "own", cpuset__cpus="2-3")
    container = Container(own)
    facts: Facts = {}

    def step(name: str, path: Path, value: object) -> None:
        put(path, value)
        facts[name] = cpus(container, own)

    facts["nested"] = cpus(container, own)
    step("widened above", pod / "cpuset.cpus", "0-3")
    inherits = make(pod / "inherits")
    without = Container(inherits)
    facts["inherited"] = cpus(without, inherits)
    without.end()
    step("with a gap", own / "cpuset.cpus", "1,3")
    step("disjoint", pod / "cpuset.cpus", "0")
    step("all above", pod / "cpuset.cpus", "0-3")
    # The kernel updates CPU sets some time after a CPU went or came.
    put(CPU3, 0)
    until(lambda: 3 not in os.sched_getaffinity(container.pid))
    facts["one switched off"] = cpus(container, own)
    put(CPU3, 1)
    until(lambda: 3 in os.sched_getaffinity(container.pid))
    facts["switched on"] = cpus(container, own)
    step("invalid partition", own / "cpuset.cpus.partition", "root")
    container.end()
    return facts


def partition_facts() -> Facts:
    """A CPU taken away from everybody else; limits of a parent whose children have no controllers."""
    beside = make(V2 / "beside")
    container = Container(beside)
    facts = {"before": cpus(container, beside)}
    partition = make(V2 / "partition", cpuset__cpus="3", cpuset__cpus__partition="root")
    inside = Container(partition)
    facts["beside"] = cpus(container, beside)
    facts["inside"] = cpus(inside, partition)
    facts["service"] = {"cpuinfo": (MOUNT / "proc/cpuinfo").read_text()}
    facts["host"] = {"cpuinfo": in_root((MOUNT / "proc/cpuinfo").read_text)}
    put(partition / "cpuset.cpus.partition", "member")
    facts["dissolved"] = cpus(container, beside)
    pod = make(V2 / "simple", cpuset__cpus="1-3", cpu__max="150000 100000")
    child = Container(make(pod / "child"))
    facts["no controllers"] = cpus(child, pod)
    for each in (container, inside, child):
        each.end()
    return facts


def quota_facts() -> Facts:
    """Quotas at two levels, whole and in fractions, with and without a CPU set."""
    pod = make(V2 / "quotas", cgroup__subtree_control="+cpuset +cpu")
    own = make(pod / "own", cpu__max="150000 100000")
    container = Container(own)
    facts: Facts = {"1.5": cpus(container, own)}

    def step(name: str, path: Path, value: object) -> None:
        put(path, value)
        facts[name] = cpus(container, own)

    step("0.5 above 1.5", pod / "cpu.max", "50000 100000")
    step("3 above 1.5", pod / "cpu.max", "300000 100000")
    step("3 above 2.5 of another period", own / "cpu.max", "10000 4000")
    step("0.1", own / "cpu.max", "10000 100000")
    step("3 above 8", own / "cpu.max", "800000 100000")
    step("3 above none", own / "cpu.max", "max")
    step("none", pod / "cpu.max", "max")
    put(own / "cpu.max", "150000 100000")
    step("1.5 of a set", own / "cpuset.cpus", "1-3")
    step("4 of a set", own / "cpu.max", "400000 100000")
    container.end()
    return facts


def times(container: Container, own: Path) -> Facts:
    """Return the CPU time that a container is shown, between two looks at the kernel's count."""
    before = (own / "cpu.stat").read_text()
    shown = {
        "stat": container.read("stat"),
        "uptime": container.read("uptime"),
        "stat after": container.read("stat"),
    }
    return shown | {"kernel": [before, (own / "cpu.stat").read_text()]}


def used(own: Path) -> int:
    """Return the CPU time that a cgroup has used, microseconds."""
    return int((own / "cpu.stat").read_text().split()[1])


def time_facts() -> Facts:
    """Three busy processes on two CPUs; then the limits change all the time; then they rest."""
    own = make(V2 / "busy", cpuset__cpus="0-1")
    container = Container(own)
    idle = Container(make(V2 / "idle", cpuset__cpus="0-1"))
    windows: Facts = {}
    looks: list[Facts] = []

    def window(name: str, passed: Callable[[], bool]) -> None:
        first = times(container, own)
        until(passed)
        last = times(container, own)
        looks.extend((first, last))
        windows[name] = [first, last]

    window("asleep", after(1))
    container.ask("burners", "3")
    window("two CPUs", more_than(own, 1.5))
    put(own / "cpu.max", "150000 100000")
    times(container, own)
    window("quota of 1.5", more_than(own, 1))
    for limits in changes():
        for name, value in limits.items():
            put(own / name, value)
        looks.append(times(container, own))
        until(more_than(own, 0.05))
        looks.append(times(container, own))
    load = busy_load(container, idle)
    pressure = {"busy": pressures(container, own), "idle": pressures(idle, V2 / "idle")}
    container.ask("rest")
    # What was used beyond a limit is paid back first.
    indebted = idle_of(container)
    until(lambda: idle_of(container) > indebted)
    window("asleep again", after(1))
    container.end()
    idle.end()
    return {"windows": windows, "looks": looks, "load": load, "pressure": pressure}


def idle_of(container: Container) -> float:
    """Return the idle time that a container is shown, seconds."""
    return float(container.read("uptime").split()[1])


def changes() -> Iterator[dict[str, str]]:
    """Yield limits of which some hide CPUs, some bring back others."""
    for quota in ("max", "50000 100000", "250000 100000"):
        for chosen in ("0-3", "1-2", "3", "0,2"):
            yield {"cpuset.cpus": chosen, "cpu.max": quota}


def more_than(own: Path, seconds: float) -> Callable[[], bool]:
    """Return what tells whether a cgroup has used so much more than now."""
    goal = used(own) + seconds * 1e6
    return lambda: used(own) > goal


def after(seconds: float) -> Callable[[], bool]:
    """Return what tells whether so much time has passed since now."""
    goal = time.monotonic() + seconds
    return lambda: time.monotonic() > goal


def until(happened: Callable[[], bool]) -> None:
    """Wait for it; the machine's time limit is the only one."""
    while not happened():
        time.sleep(0.01)


def busy_load(busy: Container, idle: Container) -> Facts:
    """Return the load of a busy container once it shows in the averages, and an idle one's."""
    until(lambda: not busy.read("loadavg").startswith("0.00"))
    # Whoever asks may have been counted while it ran.
    until(lambda: busy.read("loadavg").split()[3] == "3/5")
    return {"busy": busy.read("loadavg"), "idle": idle.read("loadavg"), "stat": busy.read("stat")}


def io_facts() -> Facts:
    """Two rounds of a container's disk I/O, seen by itself and by another that did some before."""
    own, other = (make(V2 / name) for name in ("disk", "other"))
    container, beside = Container(own), Container(other)
    beside.ask("write", "2")
    facts: Facts = {"unused": container.read("diskstats")}
    container.ask("write", "4")
    facts["first"] = container.read("diskstats")
    direct_io(2)
    container.ask("write", "6")
    facts |= {"second": container.read("diskstats"), "kernel": (own / "io.stat").read_text()}
    facts["beside"] = beside.read("diskstats")
    container.end()
    beside.end()
    return facts


def memory_facts() -> Facts:
    """Swap limits at two levels, memory.high, and huge pages of the transparent kind."""
    pod = make(V2 / "memory", memory__max=96 * MIB, cgroup__subtree_control="+memory")
    own = make(pod / "own", memory__max=64 * MIB, memory__swap__max=24 * MIB)
    container = Container(own)
    container.ask("huge", "16")
    names = ("memory.current", "memory.stat", "memory.swap.current")

    def look() -> Facts:
        before = kernel(own, *names)
        shown = {"meminfo": container.read("meminfo"), "swaps": container.read("swaps")}
        return shown | {"kernel": [before, kernel(own, *names)]}

    facts = {"huge": look()}
    container.ask("fill", "28")
    until(lambda: swapped_out(own, 8 * MIB))
    facts["swapping"] = look()
    put(pod / "memory.swap.max", 12 * MIB)
    facts["less above"] = look()
    put(own / "memory.swap.max", 0)
    facts["none"] = look()
    put(own / "memory.swap.max", "max")
    put(pod / "memory.swap.max", "max")
    facts["unlimited"] = look()
    put(own / "memory.high", 60 * MIB)
    facts["throttled"] = look()
    container.end()
    return facts


def hugetlb_facts() -> Facts:
    """Of the host's eight huge pages a container may have four, takes one, and then may have two."""
    put(PROC / "sys/vm/nr_hugepages", 8)
    own = make(V2 / "hugetlb", hugetlb__2MB__max=8 * MIB)
    container = Container(own)
    facts = {"host": (PROC / "meminfo").read_text(), "fresh": container.read("meminfo")}
    container.ask("hugetlb", "2")
    facts["taken"] = container.read("meminfo")
    put(own / "hugetlb.2MB.max", 4 * MIB)
    facts["less"] = container.read("meminfo")
    container.end()
    put(PROC / "sys/vm/nr_hugepages", 0)
    return facts


def pressures(container: Container, own: Path) -> Facts:
    """Return the pressure that a container is shown, between two looks at the kernel's."""
    names = ("cpu", "memory", "io")
    files = [f"{name}.pressure" for name in names]
    before = kernel(own, *files)
    shown = {name: container.read(f"pressure/{name}") for name in names}
    return {"shown": shown, "kernel": [before, kernel(own, *files)]}


def swapped_out(own: Path, size: int) -> bool:
    """Push some of a cgroup's memory out; tell whether so much of it is in swap."""
    with suppress(BlockingIOError):  # Less than asked for.
        put(own / "memory.reclaim", size)
    return int((own / "memory.swap.current").read_text()) >= size


def in_root(look: Callable[[], Answer]) -> Answer:
    """Do something in the root cgroup, as a process of the host's own."""
    put(V2 / "cgroup.procs", os.getpid())
    try:
        return look()
    finally:
        put(SERVICES / "cgroup.procs", os.getpid())


def host_facts() -> Facts:
    """What processes outside of any container read: in a service's cgroup, and in the root's."""

    def look() -> Facts:
        return {
            name: {file: (directory / file).read_text() for file in FILES}
            for name, directory in (("before", PROC), ("ours", MOUNT / "proc"), ("after", PROC))
        }

    facts = {"service": look()}
    busy = burner()
    facts["root"] = in_root(look)
    end([busy])
    return facts


def main() -> None:
    """Find out everything, in one boot."""
    put(make(SERVICES) / "cgroup.procs", os.getpid())
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {2, 3})
    daemon = start_daemon("--memory-high")
    os.sched_setaffinity(0, every)
    facts = {
        "partitions": partition_facts(),
        "cpusets": cpuset_facts(),
        "quotas": quota_facts(),
        "times": time_facts(),
        "io": io_facts(),
        "memory": memory_facts(),
        "hugetlb": hugetlb_facts(),
        "host": host_facts(),
        "docker": docker_facts(),
    }
    facts["daemon"] = stop_daemon(daemon)
    print(json.dumps(facts))  # noqa: T201 - this is the answer


main()
