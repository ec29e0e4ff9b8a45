"""Huge pages as one container may use them (docs/adr/0012-huge-pages.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from pylxcfs.cgroup.types import HugetlbStats


class HugePool(NamedTuple):
    """The host's huge pages of one size (Documentation/admin-guide/mm/hugetlbpage.rst)."""

    total: int
    free: int
    #: Of the free ones, those that are promised to somebody.
    reserved: int


@dataclass(frozen=True, slots=True)
class HugePages:
    """The pages of the default size, and the size of those of all sizes together in bytes."""

    total: int
    #: What the container may still take, its own reservations included.
    free: int
    reserved: int
    size_of_all: int
    #: Pages beyond the pool belong to the host, whoever uses them.
    surplus: int = 0


NO_HUGE_PAGES: Final = HugePages(0, 0, 0, 0)
#: Nothing limits the container and nothing counts what it uses.
_UNCOUNTED: Final = HugetlbStats(None, 0, None)


def share_of(
    pools: Mapping[int, HugePool], stats: Mapping[int, HugetlbStats], default_size: int
) -> HugePages:
    """Return what a container may use of the host's `pools`, both by page size in bytes."""
    totals = {size: _pages(stats.get(size, _UNCOUNTED).max, size, pool.total) for size, pool in pools.items()}
    size_of_all = sum(size * total for size, total in totals.items())
    pool = pools.get(default_size)
    if pool is None:
        return HugePages(0, 0, 0, size_of_all)
    own = stats.get(default_size, _UNCOUNTED)
    total = totals[default_size]
    left = total - _pages(own.current, default_size, total)
    reserved = 0 if own.rsvd_current is None else (own.rsvd_current - own.current) // default_size
    # Never more than all reservations that wait to be taken.
    reserved = max(0, min(reserved, pool.reserved))
    # What others reserved is free, and not to be had.
    free = max(0, min(left, pool.free - pool.reserved + reserved))
    return HugePages(total, free, min(reserved, free), size_of_all)


def _pages(amount: int | None, size: int, most: int) -> int:
    """Turn bytes into whole pages between 0 and `most`."""
    return most if amount is None else max(0, min(amount // size, most))
