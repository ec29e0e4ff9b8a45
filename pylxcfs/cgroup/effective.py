"""What applies to a cgroup once its ancestors have had their say."""

from collections.abc import Iterable, Iterator

from pylxcfs.cgroup.types import CgroupPath, CpuMax, Limit


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
