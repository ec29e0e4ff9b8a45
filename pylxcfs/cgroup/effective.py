"""What applies to a cgroup once its ancestors have had their say, and how hugetlb names its files. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from pylxcfs.cgroup.types import CgroupPath, CpuMax, Limit

_UNITS: Final = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


#: How many levels are looked at. Runtimes make five, and with one in another ten; a container may nest its
#: own groups as deep as it likes, and each level costs system calls.
MOST_LEVELS: Final = 32


def with_ancestors(path: CgroupPath) -> Iterator[CgroupPath]:
    """Yield `path` and its ancestors, nearest first, without the root: no limit can be set there.

    Of a path with more than `MOST_LEVELS` itself and the outermost: those are the host's, and the limits in
    between the container's own doing.
    """
    depth = path.count("/") if path != "/" and path else 0
    if depth > MOST_LEVELS:
        yield path
        path = CgroupPath("/".join(path.split("/", MOST_LEVELS)[:MOST_LEVELS]))
        depth = MOST_LEVELS - 1
    for _ in range(depth):
        yield path
        path = CgroupPath(path.rpartition("/")[0])


def smallest(limits: Iterable[Limit]) -> Limit:
    """Return the smallest limit; None where there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def tightest(limits: Iterable[CpuMax | None]) -> CpuMax | None:
    """Return the bandwidth limit that gives the least CPU time per period; None where there is none."""
    set_limits = [limit for limit in limits if limit is not None]
    return min(set_limits, key=lambda limit: limit.quota_usec / limit.period_usec, default=None)


def size_name(page_size: int) -> str:
    """Name a size of huge pages, bytes, as in ``hugetlb.2MB.max`` (cgroup-v2.rst, "HugeTLB")."""
    unit, name = next(entry for entry in _UNITS if page_size >= entry[0])
    return f"{page_size // unit}{name}"
