"""Render /proc/stat: the time of the visible CPUs, and the load (proc_stat(5)).

Everything else stays the host's: start times of processes count from its btime, by the reader's clock, and
interrupts, context switches and forks are not counted per cgroup.
"""

import re
from collections.abc import Iterator
from typing import Final

from pylxcfs.procfiles.field import (
    AGE_FILES,
    CPU_FILES,
    CPU_TIME_FILES,
    TASK_FILES,
    Field,
    Part,
    Rule,
    columns,
)
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import CpuView, ResourceView

_UNCOUNTED: Final = Field(Rule.ZERO, "not counted per cgroup")
_NOBODYS: Final = "the kernel counts it for nobody in particular"
#: Of each CPU, in the kernel's order.
COLUMNS: Final = {
    "user": Field(
        Rule.COMPUTED,
        "what the container used of this CPU in user mode, with its share of what no visible CPU was charged",
        "sum of growth(user) of this CPU + share of growth(user) elsewhere",
        CPU_TIME_FILES,
    ),
    "nice": _UNCOUNTED,
    "system": Field(
        Rule.COMPUTED,
        "the same in the kernel",
        "sum of growth(system) of this CPU + share of growth(system) elsewhere",
        CPU_TIME_FILES,
    ),
    "idle": Field(
        Rule.COMPUTED,
        "this CPU's share of what the container could have used and did not",
        "share of: min(quota / period, CPUs) * uptime - user - system",
        (*CPU_TIME_FILES, *CPU_FILES, *AGE_FILES),
    ),
    **dict.fromkeys(("iowait", "irq", "softirq", "steal", "guest", "guest_nice"), _UNCOUNTED),
}
#: Of the first line.
SUMS: Final = {
    name: field
    if field.rule is Rule.ZERO
    else Field(
        field.rule,
        "the sum over the visible CPUs, and what hidden ones showed last",
        f"sum of cpuN {name} + sum of hidden {name}",
        field.reads,
    )
    for name, field in COLUMNS.items()
}
#: The other lines; only those that are computed are not the host's.
LINES: Final = {
    "intr": Field(Rule.HOST_WIDE, _NOBODYS),
    "ctxt": Field(Rule.HOST_WIDE, _NOBODYS),
    "btime": Field(
        Rule.HOST_WIDE,
        "start times of processes count from it, by the reader's clock",
        "btime of the host - boottime offset of the reader's time namespace",
    ),
    "processes": Field(Rule.HOST_WIDE, _NOBODYS),
    "procs_running": Field(
        Rule.COMPUTED, "the container's runnable tasks", "count of tasks in state R", TASK_FILES
    ),
    "procs_blocked": Field(
        Rule.COMPUTED, "its tasks in uninterruptible sleep", "count of tasks in state D", TASK_FILES
    ),
    "softirq": Field(Rule.HOST_WIDE, _NOBODYS),
}
HOST_WIDE: Final = frozenset(name.encode() for name, field in LINES.items() if field.rule is Rule.HOST_WIDE)
_UNKNOWN: Final = Field(Rule.HOST_WIDE, "not known to this version")
_CELLS: Final = b"".join(b" 0" if field.rule is Rule.ZERO else b" %d" for field in COLUMNS.values()) + b"\n"
_OWN: Final = b"cpu%d" + _CELLS
_SUM: Final = b"cpu " + _CELLS
_CPU_LINES: Final = re.compile(rb"(?:cpu[^\n]*\n)*")
_CPU_LINE: Final = re.compile(rb"^cpu[^\n]*\n", re.MULTILINE)
_PROCS: Final = re.compile(rb"^procs_(running|blocked)[^\n]*\n", re.MULTILINE)
_BTIME: Final = re.compile(rb"^btime (\d{1,19})$", re.MULTILINE)
_USEC_PER_SECOND: Final = 1_000_000


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return a line for each visible CPU, the sum of all, and the rest of the host's with the own tasks."""
    hertz = host.ticks_per_second
    load = view.load
    lines = [b""]
    users = systems = idles = 0
    # Ticks are rounded per CPU, so that the first line is the sum of the lines that are read.
    for cpu, time in view.cpu.times.items():
        user = time.user_usec * hertz // _USEC_PER_SECOND
        system = time.system_usec * hertz // _USEC_PER_SECOND
        idle = time.idle_usec * hertz // _USEC_PER_SECOND
        users += user
        systems += system
        idles += idle
        lines.append(_OWN % (cpu, user, system, idle))
    for time in view.cpu.hidden.values():
        users += time.user_usec * hertz // _USEC_PER_SECOND
        systems += time.system_usec * hertz // _USEC_PER_SECOND
        idles += time.idle_usec * hertz // _USEC_PER_SECOND
    lines[0] = _SUM % (users, systems, idles)
    cpu_lines = _CPU_LINES.match(host.stat)
    rest = host.stat[cpu_lines.end() if cpu_lines else 0 :]
    if b"\ncpu" in rest:
        # Something stands between them, and none of them may be shown.
        rest = _CPU_LINE.sub(b"", rest)
    counts = {b"running": load.running, b"blocked": load.blocked}
    rest = _PROCS.sub(lambda line: b"procs_%b %d\n" % (line[1], counts[line[1]]), rest)
    if host.boottime_offset_usec:
        rest = by_clock(rest, host.boottime_offset_usec)
    lines.append(rest)
    return b"".join(lines)


def split(text: bytes) -> Iterator[Part]:
    """Yield each column of each CPU, and the other lines."""
    for line in text.decode(errors="replace").split("\n"):
        name, _, rest = line.partition(" ")
        if name.startswith("cpu"):
            yield from columns(name, rest.split(), SUMS if name == "cpu" else COLUMNS)
        elif name:
            yield Part(name, rest, LINES.get(name, _UNKNOWN))


def by_clock(text: bytes, offset_usec: int) -> bytes:
    """Return a stat for a reader whose CLOCK_BOOTTIME is so far ahead: it began that much earlier.

    As timens_sub_boottime() in fs/proc/stat.c.
    """
    return _BTIME.sub(lambda line: b"btime %d" % (int(line[1]) - offset_usec // _USEC_PER_SECOND), text)


def idle_ticks(cpu: CpuView, hertz: int) -> int:
    """Return the idle time of the first line."""
    every = (*cpu.times.values(), *cpu.hidden.values())
    return sum(time.idle_usec * hertz // _USEC_PER_SECOND for time in every)
