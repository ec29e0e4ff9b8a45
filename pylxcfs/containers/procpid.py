"""What /proc/PID says of one task. Pure.

The command is whatever the task has called itself: only a newline is escaped in it, and only in status.
"""

from collections.abc import Sequence
from typing import Final

from pylxcfs.cgroup.types import ParseError
from pylxcfs.linux.personality import PER_LINUX32, PER_MASK

#: Field 22 of /proc/PID/stat (proc_pid_stat(5)), counted from the first after the command's ")".
_STARTTIME: Final = 22 - 3

_NSPID: Final = b"NSpid:"
#: Fields 9 and 39, counted from the first after the command's ")", the state.
_FLAGS: Final = 9 - 3
_PROCESSOR: Final = 39 - 3
_BOOTTIME: Final = ([b"boottime"], [b"7"])
#: PID_MAX_LIMIT, include/linux/threads.h.
_PID_MAX: Final = 1 << 22
#: Since Linux 5.12 a thread of the process that has submitted the request; before, one of the kernel's own.
PF_IO_WORKER: Final = 0x10


def parse_state(stat: bytes) -> str:
    """Return the letter of the state in /proc/PID/stat (proc_pid_stat(5)); raises ParseError."""
    # No field after the command can hold a parenthesis.
    _, parenthesis, fields = stat.rpartition(b") ")
    if not parenthesis or not fields:
        raise ParseError("/proc/PID/stat", stat)
    return chr(fields[0])


def parse_flags(stat: bytes) -> int:
    """Return a task's flags (PF_*, include/linux/sched.h), from /proc/PID/stat; raises ParseError."""
    try:
        return int(stat[stat.rindex(b")") + 1 :].split()[_FLAGS])
    except (ValueError, IndexError) as error:
        raise ParseError("/proc/PID/stat", stat) from error


def parse_last_cpu(stat: bytes) -> int:
    """Return the processor that a task has last run on, from /proc/PID/stat; raises ParseError."""
    try:
        return int(stat[stat.rindex(b")") + 1 :].split()[_PROCESSOR])
    except (ValueError, IndexError) as error:
        raise ParseError("/proc/PID/stat", stat) from error


def parse_pids(status: bytes) -> Sequence[int]:
    """Return a task's number in each pid namespace from ours down to its own; raises ParseError.

    Source: the line NSpid of /proc/PID/status (proc_pid_status(5)), since Linux 4.1; before, there is none.
    """
    for line in status.split(b"\n"):
        if line.startswith(_NSPID):
            try:
                numbers = [int(number) for number in line.removeprefix(_NSPID).split()]
            except ValueError as error:
                raise ParseError("/proc/PID/status", line) from error
            if numbers and 0 < min(numbers) <= max(numbers) <= _PID_MAX:
                return numbers
    raise ParseError("/proc/PID/status", b"no NSpid")


def parse_parent(stat: bytes) -> int:
    """Return the parent's pid, 0 where that is not in our pid namespace; raises ParseError."""
    try:
        return int(stat[stat.rindex(b")") + 1 :].split()[1])
    except (ValueError, IndexError) as error:
        raise ParseError("/proc/PID/stat", stat) from error


def parse_start_ticks(stat: bytes) -> int:
    """Return starttime, in clock ticks since boot; raises ParseError.

    The command before it may hold spaces and parentheses, but no later field can.
    """
    try:
        return int(stat[stat.rindex(b")") + 1 :].split()[_STARTTIME])
    except (ValueError, IndexError) as error:
        raise ParseError("/proc/PID/stat", stat) from error


def parse_boottime_offset(timens_offsets: bytes) -> int:
    """Return how far CLOCK_BOOTTIME is ahead in a time namespace, microseconds; raises ParseError.

    Source: /proc/PID/timens_offsets (time_namespaces(7)); Linux 5.6 writes the clock's number for its name.
    """
    for line in timens_offsets.split(b"\n"):
        words = line.split()
        if words[:1] in _BOOTTIME:
            try:
                seconds, nanoseconds = map(int, words[1:])
            except ValueError as error:
                raise ParseError("/proc/PID/timens_offsets", line) from error
            return seconds * 1_000_000 + nanoseconds // 1000
    raise ParseError("/proc/PID/timens_offsets", b"no boottime")


def is_linux32(personality: bytes) -> bool:
    """Tell whether a /proc/PID/personality is one of setarch(8) ``linux32``; raises ParseError."""
    try:
        return int(personality, 16) & PER_MASK == PER_LINUX32
    except ValueError as error:
        raise ParseError("/proc/PID/personality", personality) from error
