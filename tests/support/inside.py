"""For programs that run as root in a machine of their own (tests.support.guest): cgroup v2, containers, us.

Processes are made by fork: to start an interpreter takes long there.
"""

import ctypes
import json
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from tests.support import load
from tests.support.invariants import CPU_LISTS, PASS

MIB = 1 << 20
CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWPID = 0x20000, 0x2000000, 0x20000000
MOUNT = Path("/run/pylxcfs-test")
V2 = Path("/sys/fs/cgroup")
#: mmap(2); Python has no name for it.
MAP_HUGETLB = 0x40000
_DISKS = (Path("/dev/ubda"), Path("/dev/vda"))
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
        burners: list[int] = []
        tasks: dict[str, Callable[[str], object]] = {
            "read": lambda name: (MOUNT / "proc" / name).read_text(),
            "burn": lambda seconds: burn(float(seconds)),
            "fill": lambda mib: kept.append(fill(int(mib))),
            "share": lambda mib: Path("/dev/shm/pylxcfs-test").write_bytes(b"x" * MIB * int(mib)),  # noqa: S108
            "threads": lambda count: start_threads(int(count)),
            "write": lambda mib: direct_io(int(mib)),
            "load": lambda directory: start_load(Path(directory)),
            "pass": lambda _: json.dumps([read_through_us(name) for name in PASS]),
            "burners": lambda count: burners.extend(burner() for _ in range(int(count))),
            "rest": lambda _: end(burners),
            "see": lambda path: (MOUNT / path).read_text(),
            "list": lambda path: json.dumps(sorted(os.listdir(MOUNT / path))),
            "affinity": lambda _: json.dumps(sorted(os.sched_getaffinity(0))),
            "huge": lambda mib: kept.append(fill(int(mib), huge=True)),
            "hugetlb": lambda mib: kept.append(fill(int(mib), flags=MAP_HUGETLB)),
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


def burner() -> int:
    """Start a process that uses all the CPU it gets; return its pid."""
    pid = os.fork()
    if not pid:
        while True:
            burn(60)
    return pid


def end(pids: list[int]) -> None:
    """End child processes, and forget them."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    pids.clear()


def start_threads(count: int) -> None:
    """Start threads that go on until the process ends: the first is busy, the others are asleep."""
    for number in range(count):
        threading.Thread(target=time.sleep if number else burn, args=(300,), daemon=True).start()


def fill(mib: int, *, flags: int = 0, huge: bool = False) -> mmap.mmap:
    """Take memory of its own, in huge pages if the kernel can: pages of zeros could be shared."""
    memory = mmap.mmap(-1, mib * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | flags)
    memory.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NORMAL)
    for offset in range(0, mib * MIB, 4096):
        memory[offset] = 1 + offset % 251
    return memory


def direct_io(mib: int) -> None:
    """Write to the disk past the page cache, so that it is counted to who writes, and read half of it."""
    with mmap.mmap(-1, MIB) as buffer:
        disk = os.open(next(path for path in _DISKS if path.exists()), os.O_RDWR | os.O_DIRECT)
        for number in range(mib):
            os.pwritev(disk, [buffer], number * MIB)
        for number in range(mib // 2):
            os.preadv(disk, [buffer], number * MIB)
        os.close(disk)


def kernel(cgroup: Path, *names: str) -> dict[str, str]:
    """Return what the kernel says of a cgroup."""
    return {name: (cgroup / name).read_text() for name in names if (cgroup / name).exists()}


def start_daemon(*options: str) -> subprocess.Popen[str]:
    """Start pylxcfs and wait until it serves."""
    MOUNT.mkdir()
    command = [sys.executable, "-m", "pylxcfs.cli", "--cache-ttl", "0", *options, str(MOUNT)]
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
