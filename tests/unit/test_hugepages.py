"""What a container may use of the host's huge pages."""

import pytest

from pylxcfs.accounting.hugepages import NO_HUGE_PAGES, HugePages, HugePool, share_of
from pylxcfs.cgroup.effective import size_name
from pylxcfs.cgroup.types import HugetlbStats

MIB = 1 << 20
SMALL, BIG = 2 * MIB, 1024 * MIB


@pytest.mark.parametrize(
    "size,name", [(64 << 10, "64KB"), (SMALL, "2MB"), (32 * MIB, "32MB"), (BIG, "1GB"), (16 * BIG, "16GB")]
)
def test_size_name(size: int, name: str) -> None:
    """Sizes are named in the largest unit, as the kernel names them."""
    assert name == size_name(size)


@pytest.mark.parametrize(
    "pool,stats,expected",
    [
        (HugePool(10, 10, 0), None, (10, 10, 0)),
        (HugePool(10, 7, 3), None, (10, 4, 0)),
        (HugePool(10, 10, 0), (6 * SMALL, 0, 0), (6, 6, 0)),
        (HugePool(10, 8, 0), (6 * SMALL, 2 * SMALL, 2 * SMALL), (6, 4, 0)),
        (HugePool(10, 1, 0), (6 * SMALL, 2 * SMALL, 2 * SMALL), (6, 1, 0)),
        (HugePool(10, 8, 3), (6 * SMALL, 2 * SMALL, 5 * SMALL), (6, 4, 3)),
        (HugePool(10, 3, 3), (None, 2 * SMALL, 4 * SMALL), (10, 2, 2)),
        (HugePool(10, 3, 1), (None, 2 * SMALL, 9 * SMALL), (10, 3, 1)),
        (HugePool(10, 10, 0), (100 * SMALL, 0, None), (10, 10, 0)),
        (HugePool(10, 10, 0), (SMALL - 1, 0, 0), (0, 0, 0)),
        (HugePool(10, 2, 0), (4 * SMALL, 8 * SMALL, 8 * SMALL), (4, 0, 0)),
    ],
    ids=[
        "no controller",
        "no controller, reserved by others",
        "limit",
        "limit and use",
        "others took the rest",
        "own reservations",
        "own and others' reservations",
        "reservations being taken",
        "limit above the pool",
        "limit below a page",
        "above its limit",
    ],
)
def test_default_size(
    pool: HugePool, stats: tuple[int | None, int, int | None] | None, expected: tuple[int, int, int]
) -> None:
    """The limit within the host's pool; free is what the container can still get."""
    own = {} if stats is None else {SMALL: HugetlbStats(*stats)}
    share = share_of({SMALL: pool}, own, SMALL)
    assert expected == (share.total, share.free, share.reserved)
    assert expected[0] * SMALL == share.size_of_all


def test_other_sizes() -> None:
    """Pages of other sizes count in the size of all, within their own limit and pool."""
    pools = {SMALL: HugePool(10, 10, 0), BIG: HugePool(4, 4, 0)}
    stats = {SMALL: HugetlbStats(None, 0, 0), BIG: HugetlbStats(BIG, 0, 0)}
    assert HugePages(10, 10, 0, 10 * SMALL + BIG) == share_of(pools, stats, SMALL)
    assert HugePages(0, 0, 0, 10 * SMALL + BIG) == share_of(pools, stats, 32 * MIB)
    assert NO_HUGE_PAGES == share_of({}, {}, SMALL)
