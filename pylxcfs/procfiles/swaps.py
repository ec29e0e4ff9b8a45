"""Render /proc/swaps: one area as large as the swap that the container may use (proc_swaps(5))."""

from typing import Final

from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_HEADER: Final = b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
#: A number this long reaches the next tab stop by itself.
_WIDE_KIB: Final = 10_000_000


def render(view: ResourceView, host: HostSnapshot) -> bytes:
    """Return the host's header, and a line for the swap that meminfo tells of, if any."""
    memory = view.memory
    header = host.swaps.partition(b"\n")[0]
    text = header + b"\n" if header else _HEADER
    total = memory.swap_total >> 10
    if not total:
        return text
    # What siblings have taken from a limit above is not to be had, and meminfo's SwapFree leaves it out too.
    taken = total - (memory.swap_free >> 10)
    # -2 is what the kernel gives to the first area that asked for no priority (swapon(2)).
    return text + b"%-40bvirtual\t\t%b%b-2\n" % (b"none", _cell(total), _cell(taken))


def _cell(kib: int) -> bytes:
    """Pad a number to the next column, as the kernel does."""
    return b"%d\t" % kib if kib >= _WIDE_KIB else b"%d\t\t" % kib
