"""Render /proc/stat: the time of the visible CPUs, and the load (proc_stat(5)).

Everything else stays the host's: start times of processes count from its btime, by the reader's clock, and
interrupts, context switches and forks are not counted per cgroup.
"""

import re
from typing import Final

from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import CpuView, ResourceView

#: Start times of processes count from btime; the kernel counts the others for nobody in particular.
HOST_WIDE: Final = frozenset({b"btime", b"intr", b"ctxt", b"processes", b"softirq"})

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
        lines.append(b"cpu%d %d 0 %d %d 0 0 0 0 0 0\n" % (cpu, user, system, idle))
    for time in view.cpu.hidden.values():
        users += time.user_usec * hertz // _USEC_PER_SECOND
        systems += time.system_usec * hertz // _USEC_PER_SECOND
        idles += time.idle_usec * hertz // _USEC_PER_SECOND
    lines[0] = b"cpu  %d 0 %d %d 0 0 0 0 0 0\n" % (users, systems, idles)
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


def by_clock(text: bytes, offset_usec: int) -> bytes:
    """Return a stat for a reader whose CLOCK_BOOTTIME is so far ahead: it began that much earlier.

    As timens_sub_boottime() in fs/proc/stat.c.
    """
    return _BTIME.sub(lambda line: b"btime %d" % (int(line[1]) - offset_usec // _USEC_PER_SECOND), text)


def idle_ticks(cpu: CpuView, hertz: int) -> int:
    """Return the idle time of the first line."""
    every = (*cpu.times.values(), *cpu.hidden.values())
    return sum(time.idle_usec * hertz // _USEC_PER_SECOND for time in every)
