"""Runs inside a machine with real cgroups and prints what containers there saw, as JSON.

``guest.py`` on cgroup v2 alone; ``guest.py mixed`` moves the CPU controllers to a v1 hierarchy first.
Processes are made by fork: to start an interpreter takes long in user-mode-linux.
"""

import ctypes
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tests.machine import load
from tests.machine.invariants import (
    CPU_LISTS,
    PASS,
    History,
    check_alone,
    check_meminfo,
    check_together,
)

MIB = 1 << 20
#: More passes make no more of a test; user-mode-linux is slow when memory is short.
PASSES, SECONDS = 150, 12
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWPID = 0x20000, 0x2000000, 0x20000000
MOUNT = Path("/run/pylxcfs-test")
V2 = Path("/sys/fs/cgroup")
V1_CPU = Path("/run/cpu")
DISK = "/dev/ubda"
libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> None:
    """Raise what a system call says."""
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def put(path: Path, value: object) -> None:
    """Write a kernel file."""
    path.write_text(f"{value}\n")


def make(path: Path, **values: object) -> Path:
    """Make a cgroup and set its files; ``__`` in a name is a dot."""
    path.mkdir()
    for name, value in values.items():
        put(path / name.replace("__", "."), value)
    return path


class Container:
    """Process 1 of new pid and mount namespaces, in a cgroup, which does what it is told."""

    def __init__(self, *cgroups: Path) -> None:
        """Start it in `cgroups`."""
        down, self._say = os.pipe()
        self._hear, up = os.pipe()
        self._outer = os.fork()
        if not self._outer:
            self._begin(cgroups, down, up)
        os.close(down)
        os.close(up)
        self._answers = os.fdopen(self._hear)
        self.pid = int(self._answers.readline())

    def ask(self, task: str, argument: str = "") -> str:
        """Let it do one of its tasks."""
        os.write(self._say, json.dumps([task, argument]).encode() + b"\n")
        answer: str = json.loads(self._answers.readline())
        return answer

    def read(self, name: str) -> str:
        """Return what it reads from one of our files."""
        return self.ask("read", name)

    def end(self) -> None:
        """End it."""
        os.kill(self._outer, signal.SIGKILL)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self._outer, 0)

    def _begin(self, cgroups: tuple[Path, ...], down: int, up: int) -> NoReturn:
        try:
            for cgroup in cgroups:
                put(cgroup / "cgroup.procs", os.getpid())
            check(libc.unshare(CLONE_NEWPID | CLONE_NEWNS))
            pid = os.fork()
            if not pid:
                self._serve(down, up)
            os.write(up, f"{pid}\n".encode())
            os.waitpid(pid, 0)
        except BaseException:  # noqa: BLE001 - a forked child must not go on with the parent's work
            traceback.print_exc()
        os._exit(1)

    @staticmethod
    def _serve(down: int, up: int) -> NoReturn:
        kept: list[object] = []
        tasks: dict[str, Callable[[str], object]] = {
            "read": lambda name: (MOUNT / "proc" / name).read_text(),
            "burn": lambda seconds: burn(float(seconds)),
            "fill": lambda mib: kept.append(fill(int(mib))),
            "share": lambda mib: Path("/dev/shm/pylxcfs-test").write_bytes(b"x" * MIB * int(mib)),  # noqa: S108
            "threads": lambda count: start_threads(int(count)),
            "write": lambda mib: direct_io(int(mib)),
            "load": lambda directory: start_load(Path(directory)),
            "pass": lambda _: json.dumps([read_through_us(name) for name in PASS]),
        }
        with os.fdopen(down) as orders:
            for line in orders:
                task, argument = json.loads(line)
                answer = tasks[task](argument)
                text = answer if isinstance(answer, str) else ""
                os.write(up, json.dumps(text).encode() + b"\n")
        os._exit(0)


def read_through_us(name: str) -> str:
    """Read one of the files that the invariants speak of."""
    return (MOUNT / (f"sys/devices/system/cpu/{name}" if name in CPU_LISTS else f"proc/{name}")).read_text()


def start_load(directory: Path) -> None:
    """Start load of every kind, which ends with the container."""
    directory.mkdir()
    if not os.fork():
        try:
            load.run(directory)
        finally:
            os._exit(1)


def burn(seconds: float) -> None:
    """Use the CPU."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def start_threads(count: int) -> None:
    """Start threads that go on until the process ends: the first is busy, the others are asleep."""
    for number in range(count):
        threading.Thread(target=time.sleep if number else burn, args=(300,), daemon=True).start()


def fill(mib: int) -> mmap.mmap:
    """Take memory of its own: pages of zeros could be shared."""
    memory = mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for offset in range(0, mib * MIB, 4096):
        memory[offset] = 1 + offset % 251
    return memory


def direct_io(mib: int) -> None:
    """Write to the disk past the page cache, so that it is counted to who writes, and read half of it."""
    with mmap.mmap(-1, MIB) as buffer:
        disk = os.open(DISK, os.O_RDWR | os.O_DIRECT)
        for number in range(mib):
            os.pwritev(disk, [buffer], number * MIB)
        for number in range(mib // 2):
            os.preadv(disk, [buffer], number * MIB)
        os.close(disk)


def kernel(cgroup: Path, *names: str) -> dict[str, str]:
    """Return what the kernel says of a cgroup."""
    return {name: (cgroup / name).read_text() for name in names if (cgroup / name).exists()}


def start_daemon() -> subprocess.Popen[str]:
    """Start pylxcfs and wait until it serves."""
    MOUNT.mkdir()
    command = [sys.executable, "-m", "pylxcfs.cli", "--cache-ttl", "0", str(MOUNT)]
    daemon = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (MOUNT / "proc/meminfo").exists():
        if daemon.poll() is not None:
            raise RuntimeError(daemon.stderr.read() if daemon.stderr else "")
        time.sleep(0.02)
    return daemon


def stop_daemon(daemon: subprocess.Popen[str]) -> dict[str, Any]:
    """Stop it; return how it ended and what it logged."""
    daemon.terminate()
    _, log = daemon.communicate(timeout=30)
    return {"status": daemon.returncode, "log": log, "mounted": os.path.ismount(MOUNT)}


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
    from pylxcfs.assembly import assemble  # noqa: PLC0415 - after the daemon was started
    from pylxcfs.config import ViewConfig  # noqa: PLC0415
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

    def look() -> dict[str, Any]:
        return {
            "stat": container.read("stat"),
            "uptime": container.read("uptime"),
            "stat after": container.read("stat"),
            "kernel": usage.read_text(),
            "age": time.monotonic() - began,
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


def invariant_facts() -> dict[str, Any]:
    """Every invariant, in every pass, under load and with limits that are changed at random."""
    own = make(V2 / "loaded", memory__max=64 * MIB)
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
                ("memory.max", range(48 * MIB, 120 * MIB)),
                ("memory.swap.max", range(1 * MIB, 60 * MIB)),
                ("cpu.max", range(60_000, 200_000)),
            ]
        )
        put(own / file, rng.choice(values))
        readings = list(zip(PASS, json.loads(container.ask("pass")), strict=True))
        check_alone(readings)
        history.check(readings)
        compared += check_together(readings)
        for name, value in check_meminfo(readings[0][1]).items():
            seen.setdefault(name, set()).add(value)
    container.end()
    return {
        "passes": passes,
        "compared": compared,
        "different": {name: len(values) for name, values in seen.items()},
    }


def namespace_facts() -> dict[str, Any]:
    """A daemon in a cgroup namespace, with the host's mount and with one of its own."""
    from pylxcfs.assembly import assemble  # noqa: PLC0415 - after the daemon was started
    from pylxcfs.config import ViewConfig  # noqa: PLC0415
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
        "invariants": invariant_facts(),
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
    facts["daemon"] = stop_daemon(daemon)
    return facts


print(json.dumps(mixed() if sys.argv[1:] == ["mixed"] else unified()))  # noqa: T201 - this is the answer
