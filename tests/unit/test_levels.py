"""Limits of the cgroups above a container, which its siblings use up, from trees of files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pylxcfs.cgroup.effective import MOST_LEVELS, with_ancestors
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import V2, CgroupPath, CgroupPaths, MemoryLevel, MemoryStats, SwapLevel
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.cgroup.v2 import V2Reader

UNLIMITED = 9223372036854771712

Read = Callable[[dict[str, str]], MemoryStats]


def _write(top: Path, files: dict[str, str]) -> None:
    (top / "a/b/c").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (top / name).write_text(text)


@pytest.fixture
def read_v1(tmp_path: Path) -> Read:
    """Return a function that writes files of a v1 memory hierarchy and reads /a/b/c there."""

    def read(files: dict[str, str]) -> MemoryStats:
        own = {"a/b/c/memory.usage_in_bytes": "5", "a/b/c/memory.stat": "hierarchical_memory_limit 70\n"}
        _write(tmp_path, own | files)
        reader = V1Reader(CgroupFiles({"memory": str(tmp_path)}, 64))
        return reader.memory(CgroupPaths.of({"memory": CgroupPath("/a/b/c")}))

    return read


@pytest.fixture
def read_v2(tmp_path: Path) -> Read:
    """Return a function that writes files of a v2 hierarchy and reads /a/b/c there."""

    def read(files: dict[str, str]) -> MemoryStats:
        own = {"memory.max": "90", "memory.current": "5", "memory.stat": "anon 5\n"}
        own |= {"memory.swap.max": "max", "memory.swap.current": "0"}
        _write(tmp_path, {f"a/b/c/{name}": text for name, text in own.items()} | files)
        reader = V2Reader(CgroupFiles({V2: str(tmp_path)}, 64))
        return reader.memory(CgroupPaths.of({V2: CgroupPath("/a/b/c")}))

    return read


_V1_ABOVE = {
    "a/b/memory.limit_in_bytes": "80",
    "a/b/memory.usage_in_bytes": "60",
    "a/b/memory.stat": "total_active_file 3\ntotal_inactive_file 4\ntotal_swap 7\ntotal_swapcached 1\n",
    "a/b/memory.memsw.limit_in_bytes": "100",
    "a/memory.limit_in_bytes": "70",
    "a/memory.usage_in_bytes": "66",
    "a/memory.stat": "total_active_file -3\n",
    "a/memory.memsw.limit_in_bytes": str(UNLIMITED),
}


def test_v1(read_v1: Read) -> None:
    """Every limited level above, nearest first; a negative statistic is none; no swap without accounting."""
    stats = read_v1(_V1_ABOVE)
    levels = (MemoryLevel(CgroupPath("/a/b"), 80, 60, 7), MemoryLevel(CgroupPath("/a"), 70, 66, 0))
    assert (levels, ()) == (stats.levels, stats.swap_levels)


def test_v1_swap(read_v1: Read) -> None:
    """What memsw leaves for swap beside full memory, and what is swapped out below that level."""
    own = "hierarchical_memory_limit 70\nhierarchical_memsw_limit 90\n"
    stats = read_v1({"a/b/c/memory.stat": own} | _V1_ABOVE)
    assert (SwapLevel(CgroupPath("/a/b"), 20, 8),) == stats.swap_levels


def test_v1_nothing_is_read_above_without_any_limit(read_v1: Read) -> None:
    """Where the kernel says that no limit holds, none is looked for."""
    own = {"a/b/c/memory.stat": f"hierarchical_memory_limit {UNLIMITED}\n"}
    assert () == read_v1(own | {"a/b/memory.limit_in_bytes": "80"}).levels


@pytest.mark.parametrize(
    "flags,expected",
    [
        ({"memory.use_hierarchy": "1", "a/b/memory.use_hierarchy": "0"}, ["/a/b", "/a"]),
        ({"memory.use_hierarchy": "0", "a/b/memory.use_hierarchy": "0"}, []),
        ({"memory.use_hierarchy": "0", "a/b/memory.use_hierarchy": "1"}, ["/a/b", "/a"]),
        (
            {
                "memory.use_hierarchy": "0",
                "a/b/memory.use_hierarchy": "1",
                "a/memory.use_hierarchy": "0",
            },
            ["/a/b"],
        ),
    ],
    ids=["root", "off", "no file", "off above"],
)
def test_v1_without_hierarchy(read_v1: Read, flags: dict[str, str], expected: list[str]) -> None:
    """Before Linux 5.11 a cgroup's limit could be its own alone."""
    assert expected == [level.cgroup for level in read_v1(_V1_ABOVE | flags).levels]


@pytest.mark.parametrize("name", ["memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat"])
def test_v1_what_cannot_be_read_costs_its_level(read_v1: Read, name: str) -> None:
    """A file that is not there, or makes no sense, leaves the other levels as they are."""
    absent = {key: text for key, text in _V1_ABOVE.items() if key != f"a/b/{name}"}
    assert ["/a"] == [level.cgroup for level in read_v1(absent).levels]


_V2_ABOVE = {
    "a/b/memory.max": "80",
    "a/b/memory.current": "60",
    "a/b/memory.stat": "active_file 3\ninactive_file 4\nslab_reclaimable 5\nfile 99\nslab_unreclaimable 9\n",
    "a/b/memory.swap.max": "max",
    "a/b/memory.swap.current": "0",
    "a/memory.max": "max",
    "a/memory.swap.max": "30",
    "a/memory.swap.current": "12",
}


def test_v2(read_v2: Read) -> None:
    """Every level with a limit, of memory or of swap, and no other."""
    stats = read_v2(_V2_ABOVE)
    assert (MemoryLevel(CgroupPath("/a/b"), 80, 60, 12),) == stats.levels
    assert (SwapLevel(CgroupPath("/a"), 30, 12),) == stats.swap_levels


@pytest.mark.parametrize("name", ["a/b/memory.current", "a/b/memory.stat", "a/memory.swap.current"])
def test_v2_what_cannot_be_read_costs_its_level(read_v2: Read, name: str) -> None:
    """A file that is not there leaves the other levels as they are."""
    stats = read_v2({key: text for key, text in _V2_ABOVE.items() if key != name})
    assert 1 == len(stats.levels) + len(stats.swap_levels)
    assert 5 == stats.current


def test_v2_limit_of_the_cgroup_that_is_charged_is_no_level(read_v2: Read, tmp_path: Path) -> None:
    """Where the container's own group does not count, the nearest that does is its own, with its limit."""
    read_v2(_V2_ABOVE)
    for name in ("memory.max", "memory.current", "memory.stat"):
        (tmp_path / "a/b/c" / name).unlink()
    reader = V2Reader(CgroupFiles({V2: str(tmp_path)}, 64))
    stats = reader.memory(CgroupPaths.of({V2: CgroupPath("/a/b/c")}))
    assert (60, 80, ()) == (stats.current, stats.max, stats.levels)


def test_memory_level() -> None:
    """What is left before and after reclaim; nothing above the limit."""
    level = MemoryLevel(CgroupPath("/a"), 80, 60, 7)
    assert (20, 27) == (level.free, level.available)
    full = MemoryLevel(CgroupPath("/a"), 50, 60, 7)
    assert (0, 0) == (full.free, full.available)
    assert (8, 0) == (SwapLevel(CgroupPath("/a"), 20, 12).free, SwapLevel(CgroupPath("/a"), 10, 12).free)


@pytest.mark.parametrize(
    "path,expected", [("/", []), ("", []), ("/a", ["/a"]), ("/a/b/c", ["/a/b/c", "/a/b", "/a"])]
)
def test_ancestors(path: str, expected: list[str]) -> None:
    """A cgroup and all above it, nearest first, without the root."""
    assert expected == list(with_ancestors(CgroupPath(path)))


def test_levels_are_bounded() -> None:
    """However deep a container nests its groups: its own and the outermost are looked at."""
    parts = [f"/{number}" for number in range(MOST_LEVELS + 1)]
    deepest = "".join(parts)
    expected = [deepest, *("".join(parts[:depth]) for depth in range(MOST_LEVELS - 1, 0, -1))]
    assert expected == list(with_ancestors(CgroupPath(deepest)))
    just = "".join(parts[:-1])
    assert MOST_LEVELS == len(list(with_ancestors(CgroupPath(just)))) == len(expected)
    assert MOST_LEVELS == len(list(with_ancestors(CgroupPath("/x" * 2000))))
