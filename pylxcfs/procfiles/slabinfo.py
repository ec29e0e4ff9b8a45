"""Render /proc/slabinfo (slabinfo(5)): the container's caches of kernel objects, or none."""

from collections.abc import Iterator
from typing import Final

from pylxcfs.procfiles.field import Field, Part, Rule
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


_CACHE: Final = Field(
    Rule.COMPUTED,
    "a cache of kernel objects that the cgroup has objects in",
    "the same line of memory.kmem.slabinfo",
    ("*/memory.kmem.slabinfo",),
)
_NO_CACHES: Final = Field(
    Rule.ZERO,
    "this kernel lists no cgroup's caches (v1 before Linux 5.9 does), and the host's tell of the host",
)


def render(view: ResourceView, _host: HostSnapshot) -> bytes:
    """Return the cgroup's list, which has its own header, or the header alone."""
    return view.slabinfo or _HEADER


def split(text: bytes) -> Iterator[Part]:
    """Yield each cache with its numbers; one part that says so without any."""
    rows = [line for line in text.decode(errors="replace").split("\n") if line and line[0] != "#"][1:]
    for row in rows:
        name, _, numbers = row.partition(" ")
        yield Part(name, numbers.strip(), _CACHE)
    if not rows:
        yield Part("caches", "0", _NO_CACHES)
