"""Render /proc/loadavg (proc_loadavg(5)) as fs/proc/loadavg.c does."""

from collections.abc import Iterator
from typing import Final

from pylxcfs.accounting.load_average import FIXED_1, FSHIFT, Averages
from pylxcfs.procfiles.field import TASK_FILES, Field, Part, Rule, columns
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView


def _average(minutes: int) -> Field:
    return Field(
        Rule.COMPUTED,
        f"the kernel's average over {minutes} min of runnable and uninterruptible tasks (ADR 8); "
        "the host's with --disable-loadavg",
        f"every 5 s: load * e + active * (1 - e), e = exp(-5 / {60 * minutes})",
        TASK_FILES,
    )


FIELDS: Final = {
    "1 min": _average(1),
    "5 min": _average(5),
    "15 min": _average(15),
    "running": Field(
        Rule.COMPUTED, "the container's runnable tasks", "count of tasks in state R", TASK_FILES
    ),
    "tasks": Field(Rule.COMPUTED, "all of its tasks", "count of tasks", TASK_FILES),
    "last pid": Field(
        Rule.COMPUTED, "the newest task, as the container numbers it", "NSpid of the last task", TASK_FILES
    ),
}
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


def split(text: bytes) -> Iterator[Part]:
    """Yield averages and counts."""
    yield from columns("", text.decode(errors="replace").replace("/", " ").split(), FIELDS)


def _format(averages: Averages) -> bytes:
    """LOAD_INT and LOAD_FRAC."""
    rounded = (average + _OFFSET for average in averages)
    return b" ".join(b"%d.%02d" % (x >> FSHIFT, (x & (FIXED_1 - 1)) * 100 >> FSHIFT) for x in rounded)
