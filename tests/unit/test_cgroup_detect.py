"""Which hierarchies are mounted."""

from itertools import permutations

from pylxcfs.cgroup.detect import Hierarchy, find_hierarchies
from pylxcfs.linux.mountinfo import parse_mountinfo

_PREFIX = "30 25 0:26 {root} {point} rw,nosuid shared:9 - {type} {source} {options}\n"


def _parse(lines: list[str]) -> tuple[Hierarchy, ...]:
    return find_hierarchies(parse_mountinfo("".join(lines).encode()))


def _line(point: str, options: str, root: str = "/", fs_type: str = "cgroup") -> str:
    return _PREFIX.format(root=root, point=point, type=fs_type, source="cgroup", options=options)


def test_v1_and_hybrid() -> None:
    """Controllers come from the superblock's options, co-mounted ones together, cgroup2 has no name."""
    lines = [
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n",
        _line("/sys/fs/cgroup/cpu,cpuacct", "rw,cpu,cpuacct"),
        _line("/sys/fs/cgroup/memory", "rw,memory,release_agent=/x"),
        _line("/sys/fs/cgroup/systemd", "rw,xattr,name=systemd"),
        _line("/sys/fs/cgroup/unified", "rw,nsdelegate", fs_type="cgroup2"),
    ]
    expected = (
        Hierarchy(("cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct", "/"),
        Hierarchy(("memory",), "/sys/fs/cgroup/memory", "/"),
        Hierarchy(("name=systemd",), "/sys/fs/cgroup/systemd", "/"),
        Hierarchy(("",), "/sys/fs/cgroup/unified", "/"),
    )
    assert expected == _parse(lines)
    assert [False, False, False, True] == [h.is_v2 for h in expected]


def test_whole_hierarchy_wins() -> None:
    """Of two mounts of one hierarchy, the one that shows all of it is used."""
    lines = [
        _line("/var/lib/x/memory", "rw,memory", root="/docker/1"),
        _line("/cg\\040roups/memory", "rw,memory"),
        _line("/late", "rw,memory"),
    ]
    assert (Hierarchy(("memory",), "/cg roups/memory", "/"),) == _parse(lines)


def test_most_of_it_wins() -> None:
    """In a cgroup namespace, the host's mount shows more than our own, and that more than a part of it."""
    points = {"/../..": "/host", "/": "/own", "/a": "/part"}
    for roots in permutations(points):
        lines = [_line(points[root], "rw", root, "cgroup2") for root in roots]
        assert (Hierarchy(("",), "/host", "/../.."),) == _parse(lines)
        assert (Hierarchy(("",), "/own", "/"),) == _parse([line for line in lines if "/host" not in line])


def test_covered_mount() -> None:
    """A mount below another one at the same place cannot be reached."""
    below = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    lines = [below, "31 30 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"]
    assert () == _parse(lines)
    lines.append("32 31 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
    assert (Hierarchy(("memory",), "/sys/fs/cgroup/memory", "/"),) == _parse(lines)


def test_nothing_mounted() -> None:
    """A host without cgroup mounts, and lines that make no sense, give nothing."""
    assert () == _parse(["", "x y z\n", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"])
