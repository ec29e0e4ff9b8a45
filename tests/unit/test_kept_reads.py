"""What readers are in the middle of takes no more than its budget, and is shared fairly."""

import errno
import os
from pathlib import Path

import pytest

from pylxcfs.rundir import files
from pylxcfs.rundir.files import read_file, replace_file
from pylxcfs.rundir.kept_reads import BUDGET_BYTES, KeptReads, LostReadError

BLOCK = 4096


def name(handle: int) -> str:
    """Name a handle's file."""
    return f"{handle:016x}"


def kept_of(directory: Path) -> list[str]:
    """List what is there and is not empty."""
    return sorted(path.name for path in directory.iterdir() if path.stat().st_size)


def test_kept_for_the_next_server(tmp_path: Path) -> None:
    """Another server finds what was kept, and drops it when its reader is done."""
    KeptReads(tmp_path).keep(5, b"content", "one")
    after = KeptReads(tmp_path)
    assert after.take(6, "one") is None
    assert after.take(5, "one") == b"content"
    assert after.held_bytes == BLOCK
    after.drop(5)
    assert kept_of(tmp_path) == []
    assert after.held_bytes == 0


def test_three_thousand_half_read_files(tmp_path: Path) -> None:
    """One reader with thousands of files gets no more than the budget; the oldest are dropped."""
    kept = KeptReads(tmp_path, budget_bytes=16 * BLOCK)
    for handle in range(3000):
        kept.keep(handle, b"x" * 1400, "nobody")
    assert kept_of(tmp_path) == [name(handle) for handle in range(3000 - 16, 3000)]
    assert kept.held_bytes == 16 * BLOCK
    assert kept.lost == 3000 - 16


def test_who_takes_the_most_makes_way(tmp_path: Path) -> None:
    """However much one container keeps, another's few reads stay; long content costs its own container."""
    kept = KeptReads(tmp_path, budget_bytes=16 * BLOCK)
    kept.keep(1, b"small", "victim")
    for handle in range(100, 200):
        kept.keep(handle, b"x" * BLOCK, "evil")
    kept.keep(200, b"x" * (8 * BLOCK + 1), "evil")
    kept.keep(2, b"small", "victim")
    assert {name(1), name(2)} <= set(kept_of(tmp_path))
    assert kept.held_bytes <= 16 * BLOCK
    kept.keep(3, b"x" * (17 * BLOCK), "evil")
    assert {name(1), name(2)} <= set(kept_of(tmp_path))


@pytest.mark.parametrize("count", [20, 6000])
def test_what_is_lost_is_known(tmp_path: Path, count: int) -> None:
    """Also to the next server, for some thousands of reads; who closes the file or begins anew is done."""
    kept = KeptReads(tmp_path, budget_bytes=16 * BLOCK)
    for handle in range(count):
        kept.keep(handle, b"x", "one")
    after = KeptReads(tmp_path, budget_bytes=16 * BLOCK)
    lost = list(range(max(0, count - 16 - 4096), count - 16))
    for server in (kept, after):
        assert b"x" == server.take(count - 1, "one")
        for handle in (lost[0], lost[-1]):
            with pytest.raises(LostReadError):
                server.take(handle, "one")
    assert len(lost) + 16 == len(os.listdir(tmp_path))
    after.drop(lost[0])
    after.keep(lost[1], b"anew", "one")
    assert after.take(lost[0], "one") is None
    assert b"anew" == after.take(lost[1], "one")
    after.clear()
    assert [] == os.listdir(tmp_path)


def test_replaced_content_is_counted_once(tmp_path: Path) -> None:
    """A reader that begins anew does not take more."""
    kept = KeptReads(tmp_path)
    for size in (1, BLOCK + 1, 10):
        kept.keep(7, b"x" * size, "one")
    assert kept.held_bytes == BLOCK
    assert kept_of(tmp_path) == [name(7)]


def test_what_an_earlier_server_left(tmp_path: Path) -> None:
    """Too much of it, a half written file and whatever else is there are removed."""
    for number in range(50):
        (tmp_path / f"{number:016x}").write_bytes(b"x")
    (tmp_path / "0000000000000063.new").write_bytes(b"x")
    (tmp_path / "README").write_bytes(b"x")
    kept = KeptReads(tmp_path, budget_bytes=16 * BLOCK)
    kept.drop(12345)
    assert kept.held_bytes == 16 * BLOCK
    assert len(kept_of(tmp_path)) == 16
    assert all(len(each) == 16 for each in kept_of(tmp_path))
    kept.keep(1000, b"x", "new")
    assert name(1000) in kept_of(tmp_path)
    kept.clear()
    assert kept_of(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EMFILE, errno.ENOMEM, errno.EIO])
@pytest.mark.parametrize("call", ["open", "write", "replace", "mkdir"])
def test_nothing_is_left_after_a_failure(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
    call: str,
) -> None:
    """Whatever fails, no file stays, the reader is served, and the log says so once."""

    def fail(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    kept = KeptReads(tmp_path / "reads")
    with monkeypatch.context() as patch:
        if call == "open":
            patch.setattr("os.open", fail)
        elif call == "write":
            patch.setattr(files, "_write", _half_written(fail))
        else:
            patch.setattr(Path, call, fail)
        kept.keep(1, b"content", "one")
        kept.keep(2, b"content", "one")
    assert not (tmp_path / "reads").exists() or kept_of(tmp_path / "reads") == []
    assert (kept.lost, kept.held_bytes) == (2, 0)
    assert len(caplog.records) == 1
    kept.keep(3, b"content", "one")
    assert kept_of(tmp_path / "reads") == [name(3)]


def _half_written(fail: object) -> object:
    def write(new: Path, content: bytes, _mode: int) -> None:
        new.write_bytes(content[:3])
        assert callable(fail)
        fail()

    return write


def test_on_a_full_device(tmp_path: Path) -> None:
    """A file is replaced as a whole or not at all, and nothing is left beside it."""
    path = tmp_path / "state.json"
    replace_file(path, b"old")
    with pytest.raises(OSError, match="more than 0 KiB"):
        replace_file(path, b"x" * 200, most=100)
    assert kept_of(tmp_path) == ["state.json"]
    assert read_file(path) == b"old"
    with pytest.raises(OSError, match="has more than"):
        read_file(path, most=2)


def test_what_is_lost_is_told_through_no_link(tmp_path: Path) -> None:
    """A link in the place of a pass that has no room is replaced, and what it names stays as it is."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"secret")
    kept = KeptReads(tmp_path / "reads")
    kept.keep(2, b"content", "one")
    (tmp_path / "reads" / name(1)).symlink_to(victim)
    kept.keep(1, bytes(BUDGET_BYTES + 1), "one")
    assert victim.read_bytes() == b"secret"
    assert not (tmp_path / "reads" / name(1)).is_symlink()
