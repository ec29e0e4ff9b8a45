"""Which cgroup is the container."""

import pytest

from pylxcfs.cgroup.membership import (
    common_paths,
    container_cgroup,
    container_paths,
    find_strange,
    own_paths,
    parse_membership,
)
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths, ParseError

_THREE = ("cpu", "cpuacct", "memory")


def _paths(**paths: str) -> CgroupPaths:
    return CgroupPaths.of({name: CgroupPath(path) for name, path in paths.items()})


def test_membership() -> None:
    """Co-mounted controllers share a path, which may hold anything; cgroup v2 has the empty name."""
    text = b"12:cpu,cpuacct:/docker/a:b\n3:memory:/x (deleted)\n1:name=systemd:/x\n0::/y\n"
    paths = parse_membership("f", text)
    assert ("/docker/a:b", "/docker/a:b", "/x (deleted)") == tuple(map(paths.get, _THREE))
    assert ("/x", "/y", None) == tuple(map(paths.get, ("name=systemd", "", "blkio")))


@pytest.mark.parametrize("end", ["\r", "\v", "\f", "\x1c", "\x85", "\u2028"])
def test_only_a_newline_ends_a_line(end: str) -> None:
    """A cgroup's name may have any other character, and does not forge a line with it."""
    path = f"/docker/a/evil{end}3:memory:/docker/b"
    assert path == parse_membership("f", f"3:memory:{path}\n".encode()).get("memory")


@pytest.mark.parametrize("text", [b"memory\n", b"3:memory\n", b"\n\n"])
def test_damaged_membership(text: bytes) -> None:
    """A line without its three parts is an error."""
    with pytest.raises(ParseError):
        parse_membership("f", text)


@pytest.mark.parametrize(
    "caller,init,container",
    [
        ("/docker/a", "/docker/a", "/docker/a"),
        ("/docker/a/nested/deep", "/docker/a", "/docker/a"),
        ("/docker/a/init.scope", "/docker/a/init.scope", "/docker/a"),
        ("/docker/a/system.slice/x", "/docker/a/init.scope", "/docker/a"),
        # A name that only begins alike is another container.
        ("/docker/ab", "/docker/a", "/docker/ab"),
        # Shared pid namespace: the branch below what both have in common.
        ("/kubepods/pod1/app", "/kubepods/pod1/pause", "/kubepods/pod1/app"),
        ("/kubepods/pod1/app/nested", "/kubepods/pod1/pause", "/kubepods/pod1/app"),
        ("/kubepods/pod1", "/kubepods/pod1/pause", "/kubepods/pod1"),
        # Nothing in common: a process that was put there from outside.
        ("/user/me", "/docker/a", "/user/me"),
        ("/user/me/init.scope", "/docker/a", "/user/me"),
        # Seen from within a cgroup namespace: what is outside of it is not below its root.
        ("/../b/x", "/", "/../b/x"),
        ("/../b/x", "/../b", "/../b"),
        ("/../b/x", "/../c", "/../b/x"),
        ("/../../pod/app/x", "/../../pod/pause", "/../../pod/app"),
        ("/a", "/..", "/a"),
        ("/docker/a/b", "/docker/a/b/c", "/docker/a/b"),
    ],
)
def test_container_cgroup(caller: str, init: str, container: str) -> None:
    """The container is init's cgroup, or the caller's branch where init's is not above it."""
    assert container == container_cgroup(CgroupPath(caller), CgroupPath(init))


def _is_root(hierarchy: str, path: CgroupPath) -> bool:
    del hierarchy
    return path == "/"


def test_each_hierarchy_by_itself() -> None:
    """Hierarchies are decided one by one."""
    caller = _paths(memory="/a/b", cpu="/x/y", blkio="/z", pids="/", cpuset="/init.scope", freezer="/f")
    init = _paths(memory="/a", cpu="/x/z", pids="/p/init.scope", cpuset="/c", freezer="/")
    expected = _paths(memory="/a", cpu="/x/y", blkio="/z", pids="/p", cpuset="/c", freezer="/f")
    assert expected == container_paths(caller, init, _is_root)


def test_strange() -> None:
    """Below init's cgroup, and in the root, is the same container; beside it, or below a root, is not."""
    init = _paths(memory="/pod/pause", cpu="/pod/pause/init.scope", blkio="/", cpuset="/init.scope")

    def strange(**caller: str) -> set[str]:
        deciding = {"memory", "cpu", "blkio", "cpuset", "devices"}
        return set(find_strange(_paths(**caller), init, deciding, _is_root))

    assert set() == strange(memory="/pod/pause/x", cpu="/pod/pause", blkio="/", cpuset="/init.scope")
    assert set() == strange(memory="/", cpu="/init.scope", pids="/anything")
    assert {"cpu", "blkio"} == strange(memory="/pod/pause", cpu="/pod/app", blkio="/b", cpuset="/")
    assert {"cpuset", "devices"} == strange(cpuset="/x", devices="/d")


def test_common() -> None:
    """What both are below of, by whole names."""
    caller = _paths(memory="/pod/app", cpu="/podx", blkio="/a/b", pids="/a", cpuset="/")
    init = _paths(memory="/pod/pause", cpu="/pod", blkio="/a/b/c", cpuset="/x")
    expected = _paths(memory="/pod", cpu="/", blkio="/a/b", pids="/", cpuset="/")
    assert expected == common_paths(caller, init)


def test_own_paths() -> None:
    """A host process is shown its own cgroup, a scope of init not counted."""
    assert _paths(memory="/", cpu="/a") == own_paths(_paths(memory="/init.scope", cpu="/a"))
