"""What limits a cgroup, to tell whether it is one of its own."""

from collections.abc import Callable

from pylxcfs.cgroup.types import CgroupError, CgroupPaths, CgroupReader


def is_limited(reader: CgroupReader, paths: CgroupPaths, common: CgroupPaths) -> bool:
    """Tell whether `paths` have other limits than `common`, which is above them."""
    limits: tuple[Callable[[CgroupPaths], object], ...] = (
        lambda where: reader.memory(where).max,
        lambda where: reader.memory(where).swap_max,
        reader.cpu_max,
        reader.cpuset,
    )
    return any(_ask(limit, paths) != _ask(limit, common) for limit in limits)


def _ask(limit: Callable[[CgroupPaths], object], paths: CgroupPaths) -> object:
    try:
        return limit(paths)
    except CgroupError:
        return None
