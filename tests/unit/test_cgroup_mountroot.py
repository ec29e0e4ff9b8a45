"""Which cgroups a mount shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.cgroup.mountroot import MountRoot
from pylxcfs.cgroup.types import CgroupPath

names = st.lists(st.sampled_from(["a", "b", "..c", "init.scope"]), max_size=4)


@pytest.mark.parametrize(
    "root,home,path,expected",
    [
        ("/", (), "/", "/"),
        ("/", (), "/a/b", "/a/b"),
        ("/", (), "/..a", "/..a"),
        # Outside of our namespace, whose root is the top.
        ("/", (), "/..", None),
        ("/", (), "/../a", None),
        # A bind of a subtree: paths are still those of the whole hierarchy.
        ("/docker/1", (), "/docker/1", "/"),
        ("/docker/1", (), "/docker/1/a", "/a"),
        ("/docker/1", (), "/docker/12", None),
        ("/docker/1", (), "/docker", None),
        ("/docker/1", (), "/../docker/1", None),
        # The host's mount, bound into a container with a cgroup namespace.
        ("/../..", ("docker", "1"), "/../..", "/"),
        ("/../..", ("docker", "1"), "/", "/docker/1"),
        ("/../..", ("docker", "1"), "/a", "/docker/1/a"),
        ("/../..", ("docker", "1"), "/../2/a", "/docker/2/a"),
        ("/../..", ("docker", "1"), "/../../user", "/user"),
        ("/../..", ("docker", "1"), "/../../../x", None),
        # The same where our own place was not found.
        ("/../..", (), "/../../user", "/user"),
        ("/../..", (), "/../2", None),
        # A mount beside us.
        ("/../2", (), "/../2/a", "/a"),
        ("/../2", (), "/../3", None),
        ("/../2", (), "/a", None),
    ],
)
def test_locate(root: str, home: tuple[str, ...], path: str, expected: str | None) -> None:
    """A path is found where the mount shows it, and nowhere else."""
    assert expected == MountRoot(root, home).locate(CgroupPath(path))


@given(st.integers(0, 3), names, names, st.integers(0, 3), names)
def test_never_goes_up(ups: int, down: list[str], home: list[str], path_ups: int, path: list[str]) -> None:
    """Whatever a path says, what is looked up has no step up."""
    root = MountRoot("/" + "/".join([".."] * ups + down), tuple(home))
    located = root.locate(CgroupPath("/" + "/".join([".."] * path_ups + path)))
    assert located is None or ".." not in located.split("/")


def test_is_root() -> None:
    """The root is ours, or the top of a mount that shows more."""
    assert MountRoot().is_root(CgroupPath("/"))
    assert not MountRoot("/docker/1").is_root(CgroupPath("/docker/1"))
    bound = MountRoot("/..", ("a",))
    assert (True, False) == (bound.is_root(CgroupPath("/..")), bound.is_root(CgroupPath("/")))


def test_shows_more() -> None:
    """A higher top shows more; a top beside us less than our own."""
    roots = ["/..", "/", "/../b", "/a", "/a/b"]
    assert roots == sorted(roots, key=lambda root: MountRoot(root).shows)
