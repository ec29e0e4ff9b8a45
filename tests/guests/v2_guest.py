"""Runs inside a machine with real cgroups and prints what containers there saw, as JSON.

``guest.py`` on cgroup v2 alone; ``guest.py mixed`` moves the CPU controllers to a v1 hierarchy first.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.inside import (
    CLONE_NEWCGROUP,
    CLONE_NEWNS,
    MIB,
    MOUNT,
    V2,
    Container,
    burn,
    check,
    direct_io,
    kernel,
    libc,
    make,
    put,
    start_daemon,
    stop_daemon,
)
from tests.support.invariants import PASS, History, check_alone, check_meminfo, check_together

#: More passes make no more of a test; user-mode-linux is slow when memory is short.
PASSES, SECONDS = 150, 12
V1_CPU = Path("/run/cpu")


def memory_facts() -> dict[str, Any]:
    """Limits at two levels, use of every kind, swap, and limits changed in place."""
    pod = make(V2 / "pod", memory__max=96 * MIB, cgroup__subtree_control="+memory +io +cpu")
    own = make(pod / "own", memory__max=64 * MIB, memory__swap__max=24 * MIB)
    container = Container(own)
    container.ask("fill", "24")
    container.ask("share", "4")
    names = ("memory.current", "memory.stat", "memory.swap.current")
    facts: dict[str, Any] = {
        "before": kernel(own, *names),
        "meminfo": container.read("meminfo"),
        "after": kernel(own, *names),
        "swaps": container.read("swaps"),
    }
    put(own / "memory.max", 20 * MIB)
    facts["lowered"] = container.read("meminfo")
    facts["lowered swaps"] = container.read("swaps")
    facts["lowered kernel"] = kernel(own, *names)
    put(pod / "memory.max", 16 * MIB)
    facts["lowered above"] = container.read("meminfo")
    put(pod / "memory.max", "max")
    put(own / "memory.max", "max")
    facts["unlimited"] = container.read("meminfo")
    facts["host"] = Path("/proc/meminfo").read_text()
    facts["host through us"] = (MOUNT / "proc/meminfo").read_text()
    container.end()
    return facts


def high_facts() -> dict[str, Any]:
    """memory.high of a container and of its parent, counted as limits and not."""
    from pylxcfs.config import ViewConfig  # noqa: PLC0415
    from pylxcfs.content.engine import assemble  # noqa: PLC0415 - after the daemon was started
    from pylxcfs.procfiles.table import VIRTUAL_FILES  # noqa: PLC0415

    meminfo = next(file for file in VIRTUAL_FILES if file.host_file == "meminfo")
    pod = make(V2 / "high", cgroup__subtree_control="+memory")
    own = make(pod / "own", memory__max=64 * MIB, memory__high=48 * MIB)
    container = Container(own)
    counting, plain = (assemble(ViewConfig(cache_ttl_seconds=0, memory_high=high)) for high in (True, False))
    facts: dict[str, Any] = {"plain": plain.render_for_pid(meminfo, container.pid).decode()}

    def look() -> str:
        return counting.render_for_pid(meminfo, container.pid).decode()

    facts["high"] = look()
    put(own / "memory.high", 40 * MIB)
    facts["lowered"] = look()
    put(pod / "memory.high", 36 * MIB)
    facts["lowered above"] = look()
    put(pod / "memory.high", "max")
    put(own / "memory.high", "max")
    facts["max"] = look()
    container.end()
    return facts


def cpu_facts(usage: Path, *cgroups: Path) -> dict[str, Any]:
    """Half a CPU, used up for a second; then as much time asleep."""
    began = time.monotonic()
    container = Container(*cgroups)
    ready = time.monotonic()

    def look() -> dict[str, Any]:
        asked, before = time.monotonic(), usage.read_text()
        shown = {name: container.read(name) for name in ("stat", "uptime")}
        return shown | {
            "stat after": container.read("stat"),
            "kernel": [before, usage.read_text()],
            "age": [asked - ready, time.monotonic() - began],
        }

    facts = {"start": look()}
    container.ask("burn", "1.5")
    facts["burnt"] = look()
    time.sleep(1)
    facts["slept"] = look()
    container.end()
    return facts


def io_facts(own: Path) -> dict[str, Any]:
    """The container's own disk I/O, and nobody else's."""
    container = Container(own)
    direct_io(2)
    facts: dict[str, Any] = {"unused": container.read("diskstats")}
    container.ask("write", "4")
    facts |= {"used": container.read("diskstats"), "kernel": (own / "io.stat").read_text()}
    container.end()
    return facts


def load_facts(home: Path, *others: Path) -> dict[str, Any]:
    """A container with a busy thread in a threaded cgroup and one asleep, beside a busy host process."""
    container = Container(home, *others)
    busy = os.fork()
    if not busy:
        burn(300)
        os._exit(0)
    facts: dict[str, Any] = {"host": Path("/proc/loadavg").read_text()}
    facts["idle"] = container.read("loadavg")
    container.ask("threads", "2")
    time.sleep(1.1)  # Readers share a count for a second.
    facts["threads"] = container.read("loadavg")
    threads = sorted(int(entry.name) for entry in Path(f"/proc/{container.pid}/task").iterdir())
    if home.is_relative_to(V2):
        moved = make(home / "threaded", cgroup__type="threaded")
        put(moved / "cgroup.threads", threads[-1])
        facts["procs"] = read_error(moved / "cgroup.procs")
        time.sleep(1.1)
        facts["threaded"] = container.read("loadavg")
    facts["tasks"] = len(threads) + 1  # And the process that waits for it.
    facts["stat"] = container.read("stat")
    os.kill(busy, signal.SIGKILL)
    os.waitpid(busy, 0)
    container.end()
    return facts


def read_error(path: Path) -> int | None:
    """Return the number of the error that reading a file gives."""
    try:
        path.read_text()
    except OSError as error:
        return error.errno
    return None


def late_facts() -> dict[str, Any]:
    """Controllers that are enabled only after the container was first looked at, and disabled again."""
    outer = make(V2 / "outer", memory__max=80 * MIB)
    inner = make(outer / "inner")
    container = Container(inner)
    container.ask("fill", "8")
    facts: dict[str, Any] = {"meminfo": container.read("meminfo"), "diskstats": container.read("diskstats")}
    put(outer / "cgroup.subtree_control", "+memory +io")
    put(inner / "memory.max", 48 * MIB)
    container.ask("write", "4")
    facts |= {"enabled": container.read("meminfo"), "enabled diskstats": container.read("diskstats")}
    put(outer / "cgroup.subtree_control", "-memory -io")
    facts |= {"disabled": container.read("meminfo"), "disabled diskstats": container.read("diskstats")}
    container.end()
    return facts


def level_facts() -> dict[str, Any]:
    """Siblings that use up limits above, at three levels, with limits and use at random."""
    facts: dict[str, Any] = {}
    for seed in range(4):
        rng = random.Random(seed)  # noqa: S311 - a tree that can be made again
        limits = [rng.choice(["max", rng.randrange(40, 100) * MIB]) for _ in range(3)]
        limits[seed % 2] = 60 * MIB
        top = make(V2 / f"level{seed}", memory__max=limits[0], cgroup__subtree_control="+memory")
        middle = make(top / "middle", memory__max=limits[1], cgroup__subtree_control="+memory")
        own = make(middle / "own", memory__max=limits[2])
        containers = [Container(make(top / "a")), Container(make(middle / "b")), Container(own)]
        for each, most in zip(containers, (16, 12, 8), strict=True):
            each.ask("fill", str(rng.randrange(1, most)))
        put(middle / "memory.swap.max", 30 * MIB)
        names = ("memory.max", "memory.current", "memory.stat", "memory.swap.max", "memory.swap.current")
        facts[str(seed)] = {
            "before": [kernel(group, *names) for group in (top, middle, own)],
            "host": [Path("/proc/meminfo").read_text()],
            "meminfo": containers[2].read("meminfo"),
            "after": [kernel(group, *names) for group in (top, middle, own)],
        }
        facts[str(seed)]["host"].append(Path("/proc/meminfo").read_text())
        for each in containers:
            each.end()
    return facts


def make_explained() -> Path:
    """Make a group whose limits are smaller than the container's."""
    controllers = "+memory +cpu +io"
    return make(
        V2 / "explained", memory__max=80 * MIB, memory__swap__max=9 * MIB, cgroup__subtree_control=controllers
    )


def explain_facts(*cgroups: Path) -> dict[str, Any]:
    """How many fields of each file could be recomputed from what is said of them; all are checked."""
    from tests.support.explaining import check_all, explain_all  # noqa: PLC0415 - after the daemon was started

    container = Container(*cgroups)
    container.ask("fill", "4")
    documents, text = explain_all(container.pid)
    container.end()
    (total,) = (each for each in documents["proc/meminfo"]["fields"] if each["name"] == "MemTotal")
    return {"counted": check_all(documents), "bounds": total["bounds"], "text": text}


def invariant_facts() -> dict[str, Any]:
    """Every invariant, in every pass, under load and with limits that are changed at random.

    The container is at the third level, beside another that uses memory.
    """
    top = make(V2 / "loaded", memory__max=120 * MIB, cgroup__subtree_control="+memory +cpu +io")
    middle = make(top / "middle", cgroup__subtree_control="+memory +cpu +io")
    own = make(middle / "own", memory__max=64 * MIB)
    beside = Container(make(middle / "beside", memory__max=40 * MIB))
    beside.ask("fill", "24")
    container = Container(own)
    container.ask("load", "/tmp/load")  # noqa: S108 - the guest's own
    rng = random.Random(1)  # noqa: S311 - a sequence that can be repeated
    history, compared = History(), 0
    seen: dict[str, set[int]] = {}
    passes = 0
    until = time.monotonic() + SECONDS
    while passes < PASSES and (time.monotonic() < until or passes < 20):
        passes += 1
        file, values = rng.choice(
            [
                (own / "memory.max", range(48 * MIB, 120 * MIB)),
                (own / "memory.swap.max", range(1 * MIB, 60 * MIB)),
                (own / "cpu.max", range(60_000, 200_000)),
                (rng.choice((top, middle)) / "memory.max", range(80 * MIB, 160 * MIB)),
                (rng.choice((top, middle)) / "memory.swap.max", range(1 * MIB, 90 * MIB)),
            ]
        )
        put(file, rng.choice(values))
        readings = list(zip(PASS, json.loads(container.ask("pass")), strict=True))
        check_alone(readings)
        history.check(readings)
        compared += check_together(readings)
        for name, value in check_meminfo(readings[0][1]).items():
            seen.setdefault(name, set()).add(value)
    container.end()
    beside.end()
    return {
        "passes": passes,
        "compared": compared,
        "different": {name: len(values) for name, values in seen.items()},
    }


def namespace_facts() -> dict[str, Any]:
    """A daemon in a cgroup namespace, with the host's mount and with one of its own."""
    from pylxcfs.config import ViewConfig  # noqa: PLC0415
    from pylxcfs.content.engine import assemble  # noqa: PLC0415 - after the daemon was started
    from pylxcfs.procfiles.table import VIRTUAL_FILES  # noqa: PLC0415

    meminfo = next(file for file in VIRTUAL_FILES if file.host_file == "meminfo")
    top = make(V2 / "ns", cgroup__subtree_control="+memory")
    make(top / "daemons", cgroup__subtree_control="+memory")
    ours = make(top / "daemons/ours")
    beside = Container(make(top / "beside", memory__max=40 * MIB))
    put(ours / "cgroup.procs", os.getpid())
    check(libc.unshare(CLONE_NEWCGROUP | CLONE_NEWNS))

    def look() -> dict[str, str]:
        engine = assemble(ViewConfig(cache_ttl_seconds=0))
        return {
            "mounts": ", ".join(f"{mount.mount_point} {mount.root}" for mount in engine.hierarchies),
            "beside": engine.render_for_pid(meminfo, beside.pid).decode(),
        }

    facts: dict[str, Any] = {"membership": Path(f"/proc/{beside.pid}/cgroup").read_text(), "host's": look()}
    check(libc.mount(None, b"/", None, 0x44000, None))  # MS_REC | MS_PRIVATE
    check(libc.umount2(bytes(V2), 2))
    check(libc.mount(b"cgroup2", bytes(V2), b"cgroup2", 0, None))
    facts["own"] = look()
    beside.end()
    return facts


def holder_facts() -> dict[str, Any]:
    """Where a holder goes whose view of the hierarchy begins at a cgroup that may not hold processes."""
    from pylxcfs.supervision.holder import _leave_cgroups  # noqa: PLC0415 - after the daemon was started

    top = make(V2 / "runtime", cgroup__subtree_control="+memory")
    own = make(top / "container")
    hear, say = os.pipe()
    child = os.fork()
    if not child:
        try:
            put(own / "cgroup.procs", os.getpid())
            check(libc.unshare(CLONE_NEWNS))
            check(libc.mount(None, b"/", None, 0x44000, None))  # MS_REC | MS_PRIVATE
            view = Path("/run/view")
            view.mkdir()
            check(libc.mount(bytes(top), bytes(view), None, 0x1000, None))  # MS_BIND
            check(libc.umount2(bytes(V2), 2))
            check(libc.mount(bytes(view), bytes(V2), None, 0x2000, None))  # MS_MOVE
            problem = _leave_cgroups()
            os.write(say, json.dumps([problem, Path("/proc/self/cgroup").read_text()]).encode())
        finally:
            os._exit(0)
    os.close(say)
    problem, membership = json.loads(os.read(hear, 4096))
    os.waitpid(child, 0)
    return {"problem": problem, "membership": membership}


def unified() -> dict[str, Any]:
    """Everything on cgroup v2."""
    daemon = start_daemon()
    half = make(V2 / "half", cpu__max="50000 100000")
    return {
        "memory": memory_facts(),
        "cpu": cpu_facts(half / "cpu.stat", half),
        "io": io_facts(make(V2 / "disk")),
        "load": load_facts(make(V2 / "load")),
        "late": late_facts(),
        "high": high_facts(),
        "levels": level_facts(),
        "explained": explain_facts(make(make_explained() / "own", memory__max=90 * MIB)),
        "invariants": invariant_facts(),
        "holder": holder_facts(),
        "daemon": stop_daemon(daemon),
        "namespace": namespace_facts(),
    }


def mixed() -> dict[str, Any]:
    """CPU on v1, co-mounted and outside of /sys/fs/cgroup, beside a named hierarchy; the rest on v2."""
    put(V2 / "cgroup.subtree_control", "-cpu")
    named = Path("/run/named")
    for where, options in ((V1_CPU, b"cpu,cpuacct"), (named, b"none,name=tracker")):
        where.mkdir()
        check(libc.mount(b"cgroup", bytes(where), b"cgroup", 0, options))
    daemon = start_daemon()
    half = make(V1_CPU / "half", cpu__cfs_quota_us=50000)
    limited = make(V2 / "limited", memory__max=40 * MIB)
    container = Container(half, limited, make(named / "tracked"))
    facts: dict[str, Any] = {"meminfo": container.read("meminfo")}
    container.end()
    facts["cpu"] = cpu_facts(half / "cpuacct.usage_all", half, limited)
    facts["io"] = io_facts(limited)
    facts["load"] = load_facts(make(V1_CPU / "load"), make(V2 / "load"))
    facts["explained"] = explain_facts(half, limited)
    facts["daemon"] = stop_daemon(daemon)
    return facts


print(json.dumps(mixed() if sys.argv[1:] == ["mixed"] else unified()))  # noqa: T201 - this is the answer
