"""Render /proc/uptime: the container's age, and the idle time of its CPUs (proc_uptime(5))."""

from typing import Final

from pylxcfs.procfiles.stat import idle_ticks
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_USEC_PER_HUNDREDTH: Final = 10_000


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return uptime and idle time in seconds; the idle time is that of /proc/stat."""
    up = view.uptime_usec // _USEC_PER_HUNDREDTH
    idle = idle_ticks(view.cpu, host.ticks_per_second) * 100 // host.ticks_per_second
    return b"%d.%02d %d.%02d\n" % (up // 100, up % 100, idle // 100, idle % 100)
