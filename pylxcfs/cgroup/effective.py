"""What applies to a cgroup once its ancestors have had their say, and how hugetlb names its files. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from pylxcfs.cgroup.types import CgroupPath, CpuMax, Limit

_UNITS: Final = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB"))


def with_ancestors(path: CgroupPath) -> Iterator[CgroupPath]:
    """Yield `path` and its ancestors, nearest first, without the root: no limit can be set there."""
    while path != "/" and path:
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
