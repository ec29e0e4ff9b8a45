"""Render /proc/loadavg (proc_loadavg(5)) as fs/proc/loadavg.c does."""

from typing import Final

from pylxcfs.accounting.load_average import FIXED_1, FSHIFT, Averages
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

#: Half a hundredth, so that cutting off rounds to nearest.
_OFFSET: Final = FIXED_1 // 200
_AVERAGES: Final = 3


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return averages, the container's runnable and all its tasks, and its last pid."""
    load = view.load
    if load.averages is None:
        averages = b" ".join(host.loadavg.split()[:_AVERAGES]) or _format(Averages(0, 0, 0))
    else:
        averages = _format(load.averages)
    return b"%b %d/%d %d\n" % (averages, load.running, load.total, load.last_pid)


def _format(averages: Averages) -> bytes:
    """LOAD_INT and LOAD_FRAC."""
    rounded = (average + _OFFSET for average in averages)
    return b" ".join(b"%d.%02d" % (x >> FSHIFT, (x & (FIXED_1 - 1)) * 100 >> FSHIFT) for x in rounded)
