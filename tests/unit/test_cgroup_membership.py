"""Which cgroup is the container."""

import pytest

from pylxcfs.cgroup.membership import (
    container_cgroup,
    container_paths,
    own_paths,
    parse_membership,
    shares_init_cgroup,
)
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths, ParseError


def _paths(**paths: str) -> CgroupPaths:
    return CgroupPaths.of({name: CgroupPath(path) for name, path in paths.items()})


def test_membership() -> None:
    """Co-mounted controllers share a path, which may hold colons; cgroup v2 has the empty name."""
    text = b"12:cpu,cpuacct:/docker/a:b\n3:memory:/gone (deleted)\n1:name=systemd:/x\n0::/y\n"
    paths = parse_membership("f", text)
    assert ("/docker/a:b", "/docker/a:b", "/gone") == tuple(map(paths.get, ("cpu", "cpuacct", "memory")))
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
        ("/", "/docker/a", "/"),
        # Seen from within a cgroup namespace: what is outside of it is not below its root.
        ("/../b/x", "/", "/../b/x"),
        ("/../b/x", "/../b", "/../b"),
        ("/../b/x", "/../c", "/../b/x"),
        ("/../../pod/app/x", "/../../pod/pause", "/../../pod/app"),
        ("/a", "/..", "/a"),
        ("/docker/a", "/", "/"),
        ("/init.scope", "/init.scope", "/"),
    ],
)
def test_container_cgroup(caller: str, init: str, container: str) -> None:
    """The container is init's cgroup, or the caller's branch where init's is not above it."""
    assert container == container_cgroup(CgroupPath(caller), CgroupPath(init))


def test_each_hierarchy_by_itself() -> None:
    """Hierarchies are decided one by one; one that init is not in counts as its root."""
    caller, init = _paths(memory="/a/b", cpu="/x/y", blkio="/z"), _paths(memory="/a", cpu="/x/z")
    assert _paths(memory="/a", cpu="/x/y", blkio="/") == container_paths(caller, init)


def test_shares_init_cgroup() -> None:
    """Below init everywhere is the same container; beside it anywhere is not."""
    init = _paths(memory="/pod/pause", cpu="/pod/pause/init.scope")
    assert shares_init_cgroup(_paths(memory="/pod/pause/x", cpu="/pod/pause"), init)
    assert not shares_init_cgroup(_paths(memory="/pod/pause", cpu="/pod/app"), init)


def test_own_paths() -> None:
    """A host process is shown its own cgroup, a scope of init not counted."""
    assert _paths(memory="/", cpu="/a") == own_paths(_paths(memory="/init.scope", cpu="/a"))
