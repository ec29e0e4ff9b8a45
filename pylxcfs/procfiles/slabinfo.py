"""Render /proc/slabinfo (slabinfo(5)): the container's caches of kernel objects, or none."""

from typing import Final

from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

#: print_slabinfo_header() in mm/slab_common.c, the same since Linux 2.6.10. Not read from the host: there
#: every reader walks all caches under a lock.
_HEADER: Final = (
    b"slabinfo - version: 2.1\n"
    b"# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
    b" : tunables <limit> <batchcount> <sharedfactor>"
    b" : slabdata <active_slabs> <num_slabs> <sharedavail>\n"
)


def render(view: ResourceView, _host: HostSnapshot) -> bytes:
    """Return the cgroup's list, which has its own header, or the header alone."""
    return view.slabinfo or _HEADER
