"""Programs that people measure containers with: how to ask each, and what its answer is and comes from."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_UNITS: Final = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_MEMINFO: Final = "/proc/meminfo"
_CPU_TREE: Final = "/sys/devices/system/cpu"
_SYSINFO: Final = "sysinfo("
AFFINITY: Final = "sched_getaffinity("
_CGROUPS: Final = "/sys/fs/cgroup"


class Quantity(Enum):
    """What an answer is about."""

    MEMORY = "memory"
    #: Bytes that are free, available or allowed: no more than there is memory.
    PART_OF_MEMORY = "part of the memory"
    CPUS = "CPUs"
    #: Seconds.
    UPTIME = "uptime"
    #: Seconds since process 1 of the container began.
    AGE = "age of process 1"
    LOAD = "load average"


@dataclass(frozen=True, slots=True)
class Answer:
    """One thing that a program says."""

    name: str
    quantity: Quantity
    #: The path (or the beginning of one), or system call, that it comes from.
    source: str
    value: Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Program:
    """A command, and the answers in what it prints."""

    name: str
    command: Sequence[str]
    answers: Sequence[Answer]


def _number(pattern: str, unit: int = 1) -> Callable[[str], float]:
    def find(text: str) -> float:
        found = re.search(pattern, text, re.MULTILINE)
        assert found is not None, text
        return float(found[1]) * unit

    return find


def _word(row: int, column: int, unit: int = 1) -> Callable[[str], float]:
    return lambda text: float(text.splitlines()[row].split()[column]) * unit


def _json(name: str) -> Callable[[str], float]:
    return lambda text: float(json.loads(text)[name])


def _count(pattern: str) -> Callable[[str], float]:
    return lambda text: float(len(re.findall(pattern, text, re.MULTILINE)))


def _up(text: str) -> float:
    """Read ``up 2 days, 3:04`` or ``up 5 min``."""
    found = re.search(r"up +(?:(\d+) days?, +)?(?:(\d+):(\d\d)|(\d+) min)", text)
    assert found is not None, text
    days, hours, minutes, only_minutes = (int(word or 0) for word in found.groups())
    return ((days * 24 + hours) * 60 + minutes + only_minutes) * 60.0


def _since(form: str) -> Callable[[str], float]:
    def seconds(text: str) -> float:
        return (datetime.now() - datetime.strptime(text.strip(), form)).total_seconds()  # noqa: DTZ005, DTZ007 - both local

    return seconds


def _clock(text: str) -> float:
    found = re.search(r"Uptime: (?:(\d+) days?[(!)]*, )?(\d+):(\d\d):(\d\d)", text)
    assert found is not None, text
    days, hours, minutes, seconds = (int(word or 0) for word in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds


def _of_htop(text: str) -> float:
    found = re.search(r"Mem\[.*/([\d.]+)([KMGT])\]", text)
    assert found is not None, text
    return float(found[1]) * _UNITS[found[2]]


def _sysconf(name: str) -> tuple[str, ...]:
    return ("getconf", name)


_PYTHON: Final = """
import json, os, psutil
print(json.dumps({
    "cpu_count": os.cpu_count(), "affinity": len(os.sched_getaffinity(0)),
    "total": psutil.virtual_memory().total, "available": psutil.virtual_memory().available,
    "psutil": psutil.cpu_count(),
}))
"""
_NODE: Final = """
const os = require("os");
console.log(JSON.stringify({
    total: os.totalmem(), free: os.freemem(), uptime: os.uptime(), load: os.loadavg()[0],
    cpus: os.cpus().length, parallelism: os.availableParallelism(),
}));
"""
#: htop only draws; tmux has the screen.
_HTOP: Final = """
directory=$(mktemp -d)
screen() { TMUX= tmux -S "$directory/socket" -f /dev/null "$@"; }
screen new-session -d -x 100 -y 30 'TERM=screen HTOPRC=/dev/null htop'
until screen capture-pane -p | grep 'Uptime: [0-9]' >"$directory/line"; do sleep 0.05; done
screen capture-pane -p
screen kill-server
rm -r "$directory"
"""
PAGE: Final = 4096


def programs(python: str) -> list[Program]:
    """Name every program; `python` has psutil."""
    memory, part, cpus = Quantity.MEMORY, Quantity.PART_OF_MEMORY, Quantity.CPUS
    up, stat, loads = Quantity.UPTIME, "/proc/stat", "/proc/loadavg"
    return [
        Program("free", ("free", "-b"), [Answer("total", memory, _MEMINFO, _word(1, 1))]),
        Program(
            "top",
            ("top", "-b", "-n1"),
            [
                Answer("MiB Mem", memory, _MEMINFO, _number(r"^MiB Mem : +([\d.]+) total", 1 << 20)),
                Answer("up", up, "/proc/uptime", _up),
            ],
        ),
        Program("vmstat", ("vmstat", "-s"), [Answer("total memory", memory, _MEMINFO, _word(0, 0, 1024))]),
        Program(
            "uptime -s", ("uptime", "-s"), [Answer("since", up, "/proc/uptime", _since("%Y-%m-%d %H:%M:%S"))]
        ),
        Program(
            "uptime",
            ("uptime",),
            [Answer("load average", Quantity.LOAD, loads, _number("average: ([0-9.]+)"))],
        ),
        Program("w", ("w",), [Answer("up", up, "/proc/uptime", _up)]),
        Program(
            "ps -o etimes",
            ("ps", "-o", "etimes=", "-p", "1"),
            [Answer("elapsed", Quantity.AGE, "/proc/uptime", _word(0, 0))],
        ),
        Program(
            "ps -o lstart",
            ("ps", "-o", "lstart=", "-p", "1"),
            [Answer("started", Quantity.AGE, stat, _since("%a %b %d %H:%M:%S %Y"))],
        ),
        Program(
            "htop",
            ("sh", "-c", _HTOP),
            [
                Answer("Mem", memory, _MEMINFO, _of_htop),
                Answer("bars", cpus, _CPU_TREE, _count(r"(?:^| )(?:\d+|CPU)\[")),
                Answer("Uptime", up, "/proc/uptime", _clock),
            ],
        ),
        Program("lscpu", ("lscpu",), [Answer("CPU(s)", cpus, _CPU_TREE, _number(r"^CPU\(s\): +(\d+)"))]),
        Program("nproc", ("nproc",), [Answer("", cpus, AFFINITY, _word(0, 0))]),
        Program(
            "busybox free",
            ("busybox", "free"),
            [
                Answer("total", memory, _SYSINFO, _word(1, 1, 1024)),
                Answer("available", part, _MEMINFO, _word(1, 6, 1024)),
            ],
        ),
        Program(
            "busybox top",
            ("busybox", "top", "-b", "-n1"),
            [Answer("used + free", memory, _MEMINFO, _used_and_free)],
        ),
        Program("busybox uptime", ("busybox", "uptime"), [Answer("up", up, _SYSINFO, _up)]),
        Program("busybox nproc", ("busybox", "nproc"), [Answer("", cpus, AFFINITY, _word(0, 0))]),
        Program(
            "getconf _NPROCESSORS_ONLN",
            _sysconf("_NPROCESSORS_ONLN"),
            [Answer("", cpus, _CPU_TREE, _word(0, 0))],
        ),
        Program(
            "getconf _NPROCESSORS_CONF",
            _sysconf("_NPROCESSORS_CONF"),
            [Answer("", cpus, _CPU_TREE, _word(0, 0))],
        ),
        Program(
            "getconf _PHYS_PAGES", _sysconf("_PHYS_PAGES"), [Answer("", memory, _SYSINFO, _word(0, 0, PAGE))]
        ),
        Program(
            "getconf _AVPHYS_PAGES",
            _sysconf("_AVPHYS_PAGES"),
            [Answer("", part, _SYSINFO, _word(0, 0, PAGE))],
        ),
        Program(
            "Python",
            (python, "-c", _PYTHON),
            [
                Answer("os.cpu_count()", cpus, _CPU_TREE, _json("cpu_count")),
                Answer(
                    "len(os.sched_getaffinity(0)), os.process_cpu_count()", cpus, AFFINITY, _json("affinity")
                ),
                Answer("psutil.virtual_memory().total", memory, _MEMINFO, _json("total")),
                Answer("psutil.virtual_memory().available", part, _MEMINFO, _json("available")),
                Answer("psutil.cpu_count()", cpus, _CPU_TREE, _json("psutil")),
            ],
        ),
        Program(
            "Node.js",
            ("node", "-e", _NODE),
            [
                Answer("os.totalmem()", memory, _MEMINFO, _json("total")),
                Answer("os.freemem()", part, _MEMINFO, _json("free")),
                Answer("os.cpus().length", cpus, stat, _json("cpus")),
                Answer("os.availableParallelism()", cpus, AFFINITY, _json("parallelism")),
                Answer("os.uptime()", up, "/proc/uptime", _json("uptime")),
                Answer("os.loadavg()", Quantity.LOAD, loads, _json("load")),
            ],
        ),
        Program(
            "Java",
            ("java", str(_HERE / "Seen.java")),
            [
                Answer("Runtime.availableProcessors()", cpus, _CGROUPS, _word(0, 0)),
                Answer("Runtime.maxMemory()", part, _CGROUPS, _word(1, 0)),
                Answer("OperatingSystemMXBean.getTotalMemorySize()", memory, _CGROUPS, _word(2, 0)),
                Answer("OperatingSystemMXBean.getFreeMemorySize()", part, _CGROUPS, _word(3, 0)),
            ],
        ),
    ]


def _used_and_free(text: str) -> float:
    found = re.search(r"^Mem: (\d+)K used, (\d+)K free", text, re.MULTILINE)
    assert found is not None, text
    return (int(found[1]) + int(found[2])) * 1024.0


#: What no file in /proc can change: what a program asks, and why the answer is what it is.
REASONS: Final[Mapping[str, str]] = {
    _SYSINFO: "a system call: the kernel answers with the host's",
    AFFINITY: "a system call: the kernel answers with the cpuset, which a CPU quota does not change",
    _CGROUPS: "reads its cgroup's limits itself",
}


def traced(command: Sequence[str], output: str) -> list[str]:
    """Turn a command into one whose opened files and asked system calls are written to `output`."""
    calls = "trace=open,openat,sysinfo,sched_getaffinity"
    return ["strace", "-f", "-y", "-qq", "-o", output, "-e", calls, "-s", "200", *command]
