"""Render /proc/uptime: the container's age, and the idle time of its CPUs (proc_uptime(5))."""

import re
from collections.abc import Iterator
from typing import Final

from pylxcfs.procfiles.field import AGE_FILES, CPU_FILES, CPU_TIME_FILES, Field, Part, Rule, columns
from pylxcfs.procfiles.stat import idle_ticks
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

FIELDS: Final = {
    "uptime": Field(
        Rule.COMPUTED,
        "the age of the container's process 1, at most what the reader's clock says",
        "min(CLOCK_BOOTTIME - starttime of process 1, CLOCK_BOOTTIME of the reader)",
        AGE_FILES,
    ),
    "idle": Field(
        Rule.COMPUTED,
        "the idle time of its CPUs, that of stat",
        "cpu idle of stat / ticks per second",
        (*CPU_TIME_FILES, *CPU_FILES, *AGE_FILES),
    ),
}
_USEC_PER_HUNDREDTH: Final = 10_000
_UPTIME: Final = re.compile(rb"(\d{1,19})\.(\d\d)\b")


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return uptime and idle time in seconds; the idle time is that of /proc/stat.

    In a time namespace whose clock began later than the container, it has not been up for longer than that.
    """
    up_usec = view.uptime_usec
    if host.boottime_offset_usec:
        up_usec = min(up_usec, max(0, host.boottime_usec + host.boottime_offset_usec))
    up = up_usec // _USEC_PER_HUNDREDTH
    idle = idle_ticks(view.cpu, host.ticks_per_second) * 100 // host.ticks_per_second
    return b"%d.%02d %d.%02d\n" % (up // 100, up % 100, idle // 100, idle % 100)


def split(text: bytes) -> Iterator[Part]:
    """Yield both times."""
    yield from columns("", text.decode(errors="replace").split(), FIELDS)


def by_clock(text: bytes, offset_usec: int) -> bytes:
    """Return the host's uptime for a reader whose CLOCK_BOOTTIME is so far ahead (fs/proc/uptime.c)."""
    found = _UPTIME.match(text)
    if found is None:
        return text
    up = max(0, int(found[1]) * 100 + int(found[2]) + offset_usec // _USEC_PER_HUNDREDTH)
    return b"%d.%02d" % divmod(up, 100) + text[found.end() :]
