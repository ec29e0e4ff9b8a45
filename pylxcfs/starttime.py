"""When a process began: what tells it from a later one with the same pid. Pure."""

from typing import Final

from pylxcfs.cgroup.types import ParseError

#: Field 22 of /proc/PID/stat (proc_pid_stat(5)), counted from the first after the command's ")".
_STARTTIME: Final = 22 - 3


def parse_start_ticks(stat: bytes) -> int:
    """Return starttime, in clock ticks since boot; raises ParseError.

    The command before it may hold spaces and parentheses, but no later field can.
    """
    try:
        return int(stat[stat.rindex(b")") + 1 :].split()[_STARTTIME])
    except (ValueError, IndexError) as error:
        raise ParseError("/proc/PID/stat", stat) from error
