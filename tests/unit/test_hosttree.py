"""The host's tree: everything below the directory can be read, and nothing else."""

import errno
import os
from pathlib import Path

import pytest

from pylxcfs.linux.hosttree import HostReadError, HostTree, HostTreeError

OUTSIDE = ["..", "../secret", "cpu0/../../secret", "/etc/passwd", ".", "cpu0/.", "cpu0//id", "cpu0/"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a small tree beside a file that is not in it."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/secret").write_text("secret")
    root = tmp_path / "cpu"
    (root / "cpu0").mkdir(parents=True)
    (root / "cpu0/id").write_text("7\n")
    (root / "cpu0/node0").symlink_to("../../node/node0")
    (root / "file-link").symlink_to("../secret")
    (root / "directory-link").symlink_to("../elsewhere")
    os.mkfifo(root / "fifo")
    return root


def number(tree: HostTree, path: str) -> int:
    """Return the errno of reading `path`."""
    with pytest.raises(HostTreeError) as refused:
        tree.read(path)
    return refused.value.number


def test_what_is_there(root: Path) -> None:
    """Files, directories and links are found at any depth."""
    tree = HostTree(root)
    assert b"7\n" == tree.read("cpu0/id")
    assert "../../node/node0" == tree.read_link("cpu0/node0")
    assert ["id", "node0"] == sorted(name for name, _ in tree.list("cpu0"))
    assert root.stat().st_ino == tree.stat("").st_ino
    expected = {"cpu0", "cpu0/id", "cpu0/node0", "file-link", "directory-link", "fifo"}
    assert expected == set(tree.walk())


@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_outside(root: Path, path: str) -> None:
    """No spelling of a path leads out of the tree."""
    tree = HostTree(root)
    assert errno.ENOENT == number(tree, path)
    for call in (tree.stat, tree.list, tree.read_link):
        with pytest.raises(HostTreeError):
            call(path)


def test_links_are_not_followed(root: Path) -> None:
    """A link is not read, and nothing is reached through one, not even a listing."""
    tree = HostTree(root)
    assert errno.EINVAL == number(tree, "file-link")
    assert errno.ENOTDIR == number(tree, "directory-link/secret")
    with pytest.raises(HostTreeError):
        tree.list("directory-link")


def test_only_regular_files_are_opened(root: Path) -> None:
    """Opening anything else could wait, or do something."""
    assert errno.EINVAL == number(HostTree(root), "fifo")
    assert errno.EINVAL == number(HostTree(root), "cpu0")


def test_long_attributes_are_cut(root: Path) -> None:
    """A binary attribute of several pages is whole; a file without an end is not read for ever."""
    for size, expected in ((4096, 4096), (10_000, 10_000), (1 << 20, 1 << 16)):
        (root / "big").write_bytes(b"x" * size)
        assert expected == len(HostTree(root).read("big"))


def test_descriptors_are_closed(root: Path) -> None:
    """Neither success nor failure leaves a descriptor open."""
    tree = HostTree(root)
    before = len(os.listdir("/proc/self/fd"))
    for path in ("cpu0/id", "cpu0/absent", "cpu0/node0/x", "fifo", "../x"):
        for call in (tree.stat, tree.read, tree.list, tree.read_link):
            try:
                call(path)
            except HostTreeError:
                continue
    assert before == len(os.listdir("/proc/self/fd"))


def test_refused_read_is_told_from_refused_open() -> None:
    """The kernel opens an attribute that it then refuses to read; its errno is kept."""
    with pytest.raises(HostReadError) as refused:
        HostTree(Path("/proc/self")).read("mem")
    assert errno.EIO == refused.value.number
