"""Mount tables as long as a container can make them: the work grows with their length, and no faster."""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest

from pylxcfs.containers.name import Name
from pylxcfs.reattach.namespaces import Namespace
from pylxcfs.reattach.reach import Reach
from pylxcfs.reattach.survey import MOST_PLACES, find_binds
from tests.support.instructions import count_instructions

_MARK: Final = b" - fuse.lxcfs "
_LONG: Final = 20_000
#: Counted, which is slow: four times as many lines may make some four times as much work.
_COUNTED: Final = (500, 2000)
_OURS: Final = b"%d %d 0:40 /proc/meminfo %s ro%s - fuse.lxcfs pylxcfs rw\n"
_OTHER: Final = b"%d %d 0:50 / %s rw%s - tmpfs none rw\n"
_BASE: Final = (
    b"100 99 0:50 / / rw - overlay overlay rw\n"
    b"101 100 0:51 / /proc rw - proc proc rw\n"
    b"102 101 0:40 /proc/meminfo /proc/meminfo ro - fuse.lxcfs pylxcfs rw\n"
)


def spread(count: int) -> bytes:
    """Bind our file on as many places."""
    return _BASE + b"".join(_OURS % (200 + n, 101, b"/proc/%d" % n, b"") for n in range(count))


def stacked(count: int) -> bytes:
    """Stack as many binds on one place."""
    return _BASE + b"".join(
        _OURS % (200 + n, 199 + n if n else 102, b"/proc/meminfo", b"") for n in range(count)
    )


def stacked_above(count: int) -> bytes:
    """Stack half as many file systems on /proc, and bind our file on as many places in the last one."""
    half = count // 2
    last = 199 + half
    stack = (_OTHER % (200 + n, 199 + n if n else 101, b"/proc", b"") for n in range(half))
    return _BASE + b"".join(
        (*stack, *(_OURS % (last + 1 + n, last, b"/proc/%d" % n, b"") for n in range(half)))
    )


def deep(count: int) -> bytes:
    """Mount each in the one before."""
    path = b"/proc/x"
    lines = []
    for n in range(count):
        lines.append(_OTHER % (200 + n, 199 + n if n else 101, path, b""))
        if len(path) < 240:
            path += b"/a"
    return _BASE + b"".join(lines) + _OURS % (200 + count, 199 + count, path + b"/b", b"")


def others(count: int) -> bytes:
    """Mount as many other file systems, half of them in peer groups."""
    fields = (b"", b" shared:%d", b"", b" shared:%d master:%d")
    lines = (
        _OTHER % (200 + n, 100, b"/m/%d" % n, fields[n % 4].replace(b"%d", b"%d" % n)) for n in range(count)
    )
    return _BASE + b"".join(lines)


_SHAPES: Final = (spread, stacked, stacked_above, deep, others)


def look(table: bytes) -> tuple[set[str], int]:
    """Find binds; return where, and how many places are left out."""
    binds, left_over = find_binds(table, mark=_MARK, is_wanted=lambda mount: mount.source == "pylxcfs")
    return {bind.target for bind in binds}, left_over


def groups(table: bytes) -> tuple[int, ...]:
    """Find peer groups of a container's own."""
    reach, whose = Reach(), Namespace(1, 1, 1, 1, False, False, Name("/"))  # noqa: FBT003
    reach.add(whose, table, is_whole=True)
    return reach.own_groups(whose)


@pytest.mark.parametrize("work", [look, groups])
@pytest.mark.parametrize("shape", _SHAPES)
def test_work_is_linear(
    shape: Callable[[int], bytes], work: Callable[[bytes], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Four times as many lines make at most some four times as much work, whatever is mounted on what."""
    few, many = (count_instructions(partial(work, shape(count))) for count in _COUNTED)
    long = shape(_LONG)
    began = time.process_time()
    work(long)
    seconds = time.process_time() - began
    with capsys.disabled():
        # How long that is on this machine is worth a look.
        told = f"{seconds:.3f} s; of {_COUNTED}: {few}, {many} instructions"
        print(f"\n{work.__name__}, {_LONG} lines {shape.__name__}: {told}")  # noqa: T201
    assert many < 4.6 * few


def test_the_files_that_runtimes_bind_come_first() -> None:
    """A container with more binds than are examined has its own files examined, and the rest is counted."""
    targets, left_over = look(spread(_LONG))
    assert "/proc/meminfo" in targets
    assert len(targets) == MOST_PLACES
    assert left_over == _LONG + 1 - MOST_PLACES


def test_long_names_are_left_out() -> None:
    """A place with a name that none of the kernel's files has is not walked to."""
    table = _BASE + _OURS % (200, 101, b"/proc" + b"/a" * 2000, b"")
    assert look(table) == ({"/proc/meminfo"}, 1)


@pytest.mark.parametrize(
    "shape,expected",
    [
        (spread, ("/proc/meminfo", 102)),
        (stacked, ("/proc/meminfo", 2199)),
        (stacked_above, ("/proc/0", 1200)),
        (deep, ("/proc/meminfo", 102)),
    ],
)
def test_what_is_seen_in_a_long_table(shape: Callable[[int], bytes], expected: tuple[str, int]) -> None:
    """What covers what is found out in long tables as in short ones."""
    binds, _ = find_binds(shape(2000), mark=_MARK, is_wanted=lambda mount: mount.source == "pylxcfs")
    seen = {bind.target: bind.seen.mount_id for bind in binds if bind.seen is not None}
    assert expected in seen.items()
    assert (shape is stacked_above) == ("/proc/meminfo" not in seen)
