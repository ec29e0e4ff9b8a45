"""Walks through the tasks of a tree of cgroups."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pylxcfs.cgroup import tasks
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.tasks import GroupWalk, read_ids
from pylxcfs.cgroup.taskstats import CgroupStats, TaskStates
from pylxcfs.cgroup.types import (
    CgroupGone,
    CgroupPath,
    ControllerUnavailable,
    ParseError,
    TaskCounts,
    TooLarge,
)

MakeWalk = Callable[..., GroupWalk]
_TOP = CgroupPath("/a")


class _Stats(CgroupStats):
    """Counts what the test wrote down, in turn."""

    def __init__(self, *states: TaskStates | OSError) -> None:
        self.states = [*states]

    def count(self, directory: int) -> TaskStates:
        os.fstat(directory)
        state = self.states.pop(0)
        if isinstance(state, OSError):
            raise state
        return state


@pytest.fixture
def make_walk(tmp_path: Path) -> MakeWalk:
    """Return the function that walks through a tree of these lists of tasks."""

    def make(lists: dict[str, str], stats: CgroupStats | None = None, *, freezer: bool = False) -> GroupWalk:
        for path, text in lists.items():
            (tmp_path / path).mkdir(parents=True, exist_ok=True)
            (tmp_path / path / "tasks").write_text(text)
        names = ("cpu", "freezer") if freezer else ("cpu",)
        files = CgroupFiles(dict.fromkeys(names, str(tmp_path)), 64)
        return GroupWalk(files, "cpu", _TOP, "tasks", stats)

    return make


def _open_below(directory: Path) -> list[str]:
    """Return what this process has open there."""
    links = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
    return sorted(path for path in links if path.startswith(str(directory)))


def _ids(walk: GroupWalk, most: int | None = None) -> list[list[int]]:
    found = []
    while (group := walk.step(most)) is not None:
        found.append([*group.ids])
    return found


def test_the_whole_tree(make_walk: MakeWalk) -> None:
    """Every cgroup is seen once, the container's own first; a neighbour and what is above are not."""
    lists = {"": "9\n", "a": "1\n2\n", "a/b": "", "a/b/c": "3\n", "a/d": "4\n", "ab": "8\n"}
    found = _ids(make_walk(lists))
    assert [1, 2] == found[0]
    assert [[], [1, 2], [3], [4]] == sorted(found)


def test_nothing_stays_open(make_walk: MakeWalk, tmp_path: Path) -> None:
    """Between two steps no descriptor is held, also after a cgroup that was too large."""
    walk = make_walk({"a": "1\n2\n3\n", "a/b": "4\n"})
    before = _open_below(tmp_path)
    for _ in range(2):
        with pytest.raises(TooLarge):
            walk.step(2)
        assert before == _open_below(tmp_path)
    assert walk.step(3) is not None
    assert before == _open_below(tmp_path)


@pytest.mark.parametrize(
    "lists,exact",
    [({"a": "1\n2\n3\n"}, 3), ({"a": "", "a/b": "", "a/c": "", "a/d": ""}, 3)],
    ids=["tasks", "cgroups"],
)
def test_too_large(make_walk: MakeWalk, lists: dict[str, str], exact: int) -> None:
    """A cgroup with more tasks or cgroups than may be looked at stays the next one."""
    walk = make_walk(lists)
    with pytest.raises(TooLarge):
        walk.step(exact - 1)
    assert len(lists) == len(_ids(walk, exact))


def test_long_list(make_walk: MakeWalk) -> None:
    """A list of more than one piece is read to its end, whatever pieces it comes in."""
    ids = [*range(30_000)]
    walk = make_walk({"a": "".join(f"{each}\n" for each in ids)})
    with pytest.raises(TooLarge):
        walk.step(29_999)
    assert [ids] == _ids(walk)


@pytest.mark.parametrize("piece", [4085, 4084, 13, 4096])
def test_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, piece: int) -> None:
    """A piece that leaves room for another line is the last one; of lines cut in two nothing is lost."""
    text = "".join(f"{each}\n" for each in range(3000))[:5000]
    (tmp_path / "tasks").write_text(text)
    read = os.read
    sizes = []

    def read_pieces(fd: int, _size: int) -> bytes:
        sizes.append(piece)
        return read(fd, piece)

    monkeypatch.setattr(os, "read", read_pieces)
    directory = os.open(tmp_path, os.O_RDONLY)
    found = [*read_ids(directory, "tasks")]
    os.close(directory)
    if piece <= 4084:
        assert 1 == len(sizes)
        text = text[:piece]
    else:
        assert 2 == len(sizes)
    assert [int(word) for word in text.split()] == found


def test_a_long_list_is_not_read_in_vain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where it is too long, reading stops with the piece that shows it."""
    (tmp_path / "tasks").write_text("1\n" * 100_000)
    read = os.read
    sizes = []

    def read_pages(fd: int, _size: int) -> bytes:
        sizes.append(4096)
        return read(fd, 4096)

    monkeypatch.setattr(os, "read", read_pages)
    directory = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(TooLarge):
        read_ids(directory, "tasks", 2048)
    os.close(directory)
    assert 2 == len(sizes)


def test_removed_meanwhile(make_walk: MakeWalk, tmp_path: Path) -> None:
    """A cgroup that goes while the tree is walked through is left out, and its neighbours are not."""
    walk = make_walk({"a": "1\n", "a/b": "2\n", "a/c": "3\n"})
    assert walk.step() is not None
    (tmp_path / "a/b/tasks").unlink()
    (tmp_path / "a/b").rmdir()
    assert [[3]] == _ids(walk)


def test_list_has_gone(make_walk: MakeWalk, tmp_path: Path) -> None:
    """A cgroup whose list cannot be opened any more has no tasks."""
    walk = make_walk({"a": "1\n", "a/b": "2\n"})
    (tmp_path / "a/b/tasks").unlink()
    assert [[1], []] == _ids(walk)


def test_gone(make_walk: MakeWalk, tmp_path: Path) -> None:
    """The container's own cgroup that goes is told as such, before the walk and when it begins."""
    with pytest.raises(CgroupGone):
        make_walk({})
    walk = make_walk({"a": "1\n"})
    (tmp_path / "a/tasks").unlink()
    with pytest.raises(ControllerUnavailable):
        make_walk({})
    (tmp_path / "a").rmdir()
    with pytest.raises(CgroupGone):
        walk.step()


def test_no_list_of_ids(make_walk: MakeWalk) -> None:
    """A list that is none is told as such, and where."""
    for text in ("x\n", "99999999999\n"):
        with pytest.raises(ParseError, match="/a/tasks"):
            make_walk({"a": text}).step()


def test_want_of_resources(make_walk: MakeWalk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a descriptor nothing is left out: the same cgroup is the next one."""
    walk = make_walk({"a": "1\n", "a/b": "2\n"})

    def fail(*_args: object, **_options: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    for _ in range(2):
        with monkeypatch.context() as broken:
            broken.setattr(os, "open", fail)
            with pytest.raises(OSError, match="Too many open files"):
                walk.step()
        assert walk.step() is not None
    assert walk.step() is None


def test_a_link_is_no_cgroup(make_walk: MakeWalk, tmp_path: Path) -> None:
    """No cgroup has one; where there is, it leads nowhere."""
    walk = make_walk({"a": "1\n", "a/b": "2\n", "other": "3\n"})
    (tmp_path / "a/loop").symlink_to(".")
    (tmp_path / "a/out").symlink_to("../other")
    assert [[1], [2]] == _ids(walk)


def test_too_many_cgroups(make_walk: MakeWalk, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more are remembered than may be; that some are left out is told."""
    monkeypatch.setattr(tasks, "MOST_PENDING", 3)
    lists = {f"a/{number}": f"{number}\n" for number in range(3)}
    walk = make_walk({"a": "9\n"} | lists)
    assert 4 == len(_ids(walk))
    assert not walk.is_cut
    walk = make_walk({"a/3": "3\n"})
    assert 4 == len(_ids(walk))
    assert walk.is_cut


def test_bound_of_what_is_remembered() -> None:
    """65,536 cgroups, of which each costs us its name."""
    assert 65_536 == tasks.MOST_PENDING


@pytest.mark.parametrize(
    "states,freezer,expected",
    [
        (TaskStates(1, 1, 0, 0), True, TaskCounts(1, 0, 2)),
        (TaskStates(0, 0, 1, 1), False, TaskCounts(0, 1, 2)),
        # Before Linux 6.1 these may be frozen ones.
        (TaskStates(1, 0, 0, 1), True, None),
        # One in a state that is none of these.
        (TaskStates(1, 0, 0, 0), False, None),
        # One more since they were listed.
        (TaskStates(2, 1, 0, 0), False, TaskCounts(1, 0, 2)),
        (OSError(errno.EINVAL, "no v1 cgroup"), False, None),
    ],
)
def test_the_kernels_count(
    make_walk: MakeWalk, states: TaskStates | OSError, *, freezer: bool, expected: TaskCounts | None
) -> None:
    """It is taken where it tells the state of every task."""
    walk = make_walk({"a": "1\n2\n"}, _Stats(states), freezer=freezer)
    group = walk.step()
    assert group is not None
    assert expected == group.counts


def test_nobody_to_count(make_walk: MakeWalk) -> None:
    """An empty cgroup is not asked about, and without cgroupstats no count is known."""
    group = make_walk({"a": ""}, _Stats()).step()
    assert group is not None
    assert group.counts is None
    group = make_walk({"a": "1\n"}).step()
    assert group is not None
    assert group.counts is None
