"""CPU ledgers in shared memory: what is kept, for whom, and in how much space."""

import errno
import os
import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pylxcfs.accounting.cpu_ledger import CpuTimes, Ledger, Sample, advance, open_ledger
from pylxcfs.accounting.cpu_ledger_file import BUDGET_BYTES, LedgerFile, Owner
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths, CpuSet, CpuTime
from pylxcfs.containers.container import ContainerKey

_SECOND = 1_000_000
#: Header, and a slot for two CPUs: owner, and two halves of 24 + 8 * (6 + 7 * 2) bytes.
_HEADER_SIZE = 64
_SLOT_SIZE = 256 + 2 * (24 + 8 * 20)
_FIRST_SIZE = _HEADER_SIZE + 16 * _SLOT_SIZE


def _key(number: int, path: str | None = None) -> ContainerKey:
    path = f"/c{number}" if path is None else path
    return ContainerKey(CgroupPaths.of({"cpu": CgroupPath(path)}), 100 + number, 7)


def _ledger(seconds: int) -> Ledger:
    return open_ledger(
        Sample(
            seconds * _SECOND,
            CpuSet({0, 1}),
            {0: CpuTime(seconds, 3)},
            CpuTime(5, 6),
        )
    )


def _shows(ledger: Ledger | None) -> object:
    return None if ledger is None else (ledger.times, ledger.hidden, ledger.uptime_usec, ledger.unplaced)


def _all_live(_owner: Owner) -> bool:
    return True


def _none_lives(_owner: Owner) -> bool:
    return False


def _kept(server: LedgerFile) -> list[int]:
    """Return the numbers of all containers that have a ledger and have not asked for it."""
    seen: list[int] = []

    def look(owner: Owner) -> bool:
        seen.append(owner.init_pid - 100)
        return True

    # Those that are left of an earlier round, and one whole round.
    for _ in range(2):
        server.drop_ended(look, 1000)
    return sorted(set(seen))


def _open_below(directory: Path) -> list[str]:
    """Return what this process has open there."""
    links = (os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
    return sorted(path for path in links if path.startswith(f"{directory}/"))


class _World:
    """A runtime directory, and one server after the other."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "new/run/ledgers"

    def server(self, boot_id: str = "boot", cpus: int = 2, budget: int = BUDGET_BYTES) -> LedgerFile:
        return LedgerFile(self.path, boot_id, cpus, budget)

    def size(self) -> int:
        return self.path.stat().st_size

    def make_directory(self) -> None:
        self.path.parent.mkdir(parents=True)


@pytest.fixture
def world(tmp_path: Path) -> _World:
    """Return an empty runtime directory."""
    return _World(tmp_path)


def test_the_next_server_goes_on(world: _World) -> None:
    """All of a ledger is there for the next server, hidden CPUs included."""
    first = open_ledger(Sample(10 * _SECOND, CpuSet({0, 1}), {0: CpuTime(9, 8), 1: CpuTime(7, 6)}))
    ledger = advance(first, Sample(20 * _SECOND, CpuSet({1}), {1: CpuTime(70, 60)}, CpuTime(3, 4)))
    assert ledger.hidden
    world.server().save(_key(1), ledger)
    after = world.server()
    assert ledger == after.load(_key(1))
    assert after.load(_key(2)) is None


def test_format(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is what other versions of pylxcfs read; to write anything else takes another magic."""
    monkeypatch.setattr(time, "monotonic", lambda: 99.5)
    shown = {0: CpuTimes(2, 3, 4)}, {1: CpuTimes(5, 6, 7)}
    used = {0: CpuTime(8, 9), 2: CpuTime(10, 11)}
    ledger = Ledger(1, *shown, used, CpuTime(12, 13), 14, 15, 16)
    server = world.server(cpus=3)
    server.save(_key(1), ledger)
    size = 24 + 8 * (6 + 7 * 3)
    content = world.path.read_bytes()
    assert struct.pack("=18s38sq", b"pylxcfs ledgers 2\n", b"boot", 256 + 2 * size) == content[:64]
    at = content.index(bytes.fromhex("720a85d7201a90fbf15c831e982bfb1b"))
    owner = struct.pack("=qqH", 101, 7, len("cpu\0/c1")) + b"cpu\0/c1"
    assert owner.ljust(256 - 16, b"\0") == content[at + 16 : at + 256]
    cpus = ((0, 2, 2, 3, 4, 8, 9), (1, 1, 5, 6, 7, 0, 0), (2, 0, 0, 0, 0, 10, 11))
    numbers = struct.pack("=27q", 1, 12, 13, 14, 15, 16, *(number for cpu in cpus for number in cpu))
    half = struct.pack("=QQII", 1, 99, 27, zlib.crc32(numbers)) + numbers
    assert {half, bytes(size)} == {
        content[at + 256 : at + 256 + size],
        content[at + 256 + size : at + 256 + 2 * size],
    }
    # A CPU that no counter is known of is one that was not used.
    assert replace(ledger, used=used | {1: CpuTime(0, 0)}) == world.server(cpus=3).load(_key(1))


def test_the_latest_is_what_counts(world: _World) -> None:
    """Halves are written in turn, and the newer one is read, whichever it is."""
    server = world.server()
    for seconds in range(1, 6):
        server.save(_key(1), _ledger(seconds))
        assert _shows(_ledger(seconds)) == _shows(world.server().load(_key(1)))


@pytest.mark.parametrize("newest", [3, 4])
def test_half_written(world: _World, newest: int) -> None:
    """Where the newer half is damaged, the older one is there."""
    server = world.server()
    for seconds in range(1, newest + 1):
        server.save(_key(1), _ledger(seconds))
    content = bytearray(world.path.read_bytes())
    marker = struct.pack("=q", newest * _SECOND)
    content[content.index(marker) + 9] ^= 1
    world.path.write_bytes(content)
    assert _shows(_ledger(newest - 1)) == _shows(world.server().load(_key(1)))


@pytest.mark.parametrize("sequence", [0, 1 << 48])
def test_impossible_sequence(world: _World, sequence: int) -> None:
    """A sequence number that no server reaches makes a half worth nothing, and is no end of writing."""
    world.server().save(_key(1), _ledger(1))
    content = bytearray(world.path.read_bytes())
    # The half before the ledger's first number.
    at = content.index(struct.pack("=q", _SECOND)) - 24
    assert 1 == struct.unpack_from("=Q", content, at)[0]
    struct.pack_into("=Q", content, at, sequence)
    world.path.write_bytes(content)
    server = world.server()
    assert server.load(_key(1)) is None
    for seconds in (5, 6):
        server.save(_key(1), _ledger(seconds))
        assert _shows(_ledger(seconds)) == _shows(world.server().load(_key(1)))


@pytest.mark.parametrize("change", [{"boot_id": "other"}, {"cpus": 3}])
def test_of_another_boot_or_machine(world: _World, change: dict[str, object]) -> None:
    """What another boot has left, or slots of another size, is dropped; who has it mapped keeps it whole."""
    before = world.server()
    before.save(_key(1), _ledger(1))
    after = world.server(**change)  # type: ignore[arg-type]
    assert after.load(_key(1)) is None
    # To write into a page that was cut off would end this process.
    before.save(_key(1), _ledger(2))
    after.save(_key(1), _ledger(3))
    assert _shows(_ledger(3)) == _shows(world.server(**change).load(_key(1)))  # type: ignore[arg-type]


def test_every_byte_has_its_space(world: _World) -> None:
    """The file has no holes, at first and when it grows; holes of somebody else are filled."""
    server = world.server()
    for number in range(40):
        server.save(_key(number), _ledger(number + 1))
        assert world.path.stat().st_blocks * 512 >= world.size()
    assert server.held_bytes == world.size() == _HEADER_SIZE + 64 * _SLOT_SIZE
    os.truncate(world.path, _HEADER_SIZE + 1000 * _SLOT_SIZE)
    assert _shows(_ledger(3)) == _shows(world.server().load(_key(2)))
    assert world.path.stat().st_blocks * 512 >= world.size()


def test_cut_short(world: _World) -> None:
    """A file that was cut in the middle of a slot goes on with the whole ones."""
    server = world.server()
    for number in range(16):
        server.save(_key(number), _ledger(number + 1))
    os.truncate(world.path, _FIRST_SIZE - 1)
    after = world.server()
    found = [number for number in range(16) if after.load(_key(number)) is not None]
    assert 15 == len(found)
    for number in range(20):
        after.save(_key(number), _ledger(99))
    assert all(world.server().load(_key(number)) for number in range(20))
    # Cut within its header's first slot.
    os.truncate(world.path, _HEADER_SIZE + 1)
    assert world.server().load(_key(1)) is None


def test_slots_are_given_back(world: _World) -> None:
    """Containers that end under a later server leave room for others."""
    first = world.server()
    for number in range(16):
        first.save(_key(number), _ledger(1))
    later = world.server()
    later.drop_ended(lambda owner: owner.init_pid == 103, 99)
    assert later.load(_key(3)) is not None
    for number in range(100, 115):
        assert later.load(_key(number)) is None
        later.save(_key(number), _ledger(2))
    assert 0 == later.unkept
    assert world.size() == _FIRST_SIZE


def test_few_are_looked_at_at_once(world: _World) -> None:
    """One call looks at no more owners than it may; those after it at the others, again and again."""
    first = world.server()
    for number in range(10):
        first.save(_key(number), _ledger(1))
    later = world.server()
    seen: list[int] = []

    def look(owner: Owner) -> bool:
        seen.append(owner.init_pid)
        return True

    for expected in (4, 8, 10, 14):
        later.drop_ended(look, 4)
        assert expected == len(seen)
    assert set(range(100, 110)) == set(seen[:10])


def test_owner(world: _World) -> None:
    """Whose a ledger is can be told later: init, and the deepest cgroup whose name has room."""
    paths = {"cpu": "/a", "memory": "/a/b", "pids": "/" + "x" * 300, "": "/"}
    key = ContainerKey(CgroupPaths.of({name: CgroupPath(path) for name, path in paths.items()}), 42, 77)
    rooted = ContainerKey(CgroupPaths.of({"cpu": CgroupPath("/")}), 43, 78)
    exact = CgroupPath("/" + "y" * (222 - len("cpu/") - 1))
    longest = ContainerKey(CgroupPaths.of({"cpu": exact}), 44, 79)
    longer = ContainerKey(CgroupPaths.of({"cpu": CgroupPath(exact + "y")}), 45, 80)
    server = world.server()
    for each in (key, rooted, longest, longer):
        server.save(each, _ledger(1))
    seen: list[Owner] = []

    def look(owner: Owner) -> bool:
        seen.append(owner)
        return True

    world.server().drop_ended(look, 99)
    assert sorted(seen) == [
        Owner(42, 77, "memory", CgroupPath("/a/b")),
        Owner(43, 78, "", CgroupPath("")),
        Owner(44, 79, "cpu", exact),
        Owner(45, 80, "", CgroupPath("")),
    ]


def test_released_and_found_again(world: _World) -> None:
    """A container that is let go and lives goes on with its ledger; once it has ended, nobody does."""
    server = world.server()
    server.save(_key(1), _ledger(1))
    server.release(_key(1))
    server.drop_ended(_all_live, 99)
    assert _shows(_ledger(1)) == _shows(server.load(_key(1)))
    # Claimed again: not to be dropped, whatever is said of it.
    server.drop_ended(_none_lives, 99)
    assert server.load(_key(1)) is not None
    server.release(_key(1))
    server.drop_ended(_none_lives, 99)
    assert server.load(_key(1)) is None


def test_processes_of_the_host(world: _World) -> None:
    """Their init is process 1, and lives."""
    host = ContainerKey(CgroupPaths.of({"cpu": CgroupPath("/system.slice")}), 1, 7)
    world.server().save(host, _ledger(3))
    later = world.server()
    later.drop_ended(lambda owner: owner.init_pid == 1, 99)
    assert _shows(_ledger(3)) == _shows(later.load(host))


def test_one_that_was_never_known_is_let_go(world: _World) -> None:
    """Nobody's slot is nobody's."""
    server = world.server(budget=_HEADER_SIZE + _SLOT_SIZE)
    server.save(_key(1), _ledger(1))
    server.release(_key(2))
    server.save(_key(3), _ledger(1))
    assert 1 == server.unkept
    assert _shows(_ledger(1)) == _shows(server.load(_key(1)))


def test_one_that_has_just_been_let_go_is_looked_at_first(world: _World) -> None:
    """So that a node where containers come and go keeps no more than there are."""
    first = world.server()
    for number in range(10):
        first.save(_key(number), _ledger(1))
    later = world.server()
    later.drop_ended(_all_live, 1)
    assert later.load(_key(9)) is not None
    later.release(_key(9))
    later.drop_ended(_none_lives, 1)
    assert [*range(9)] == _kept(later)


def test_budget(world: _World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A full file drops what was written longest ago and nobody reads; then it keeps no more."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    budget = _HEADER_SIZE + 20 * _SLOT_SIZE + 1
    first = world.server(budget=budget)
    for number in range(20):
        now += 10
        first.save(_key(number), _ledger(number + 1))
    assert world.size() == _HEADER_SIZE + 20 * _SLOT_SIZE
    assert 0 == first.unkept
    # Asked for again: no longer the oldest.
    now += 10
    first.save(_key(0), _ledger(50))
    later = world.server(budget=budget)
    assert later.load(_key(5)) is not None
    later.save(_key(100), _ledger(1))
    later.save(_key(101), _ledger(1))
    assert 0 == later.unkept
    now += 10
    last = world.server(budget=budget)
    kept = [0, *range(3, 20), 100, 101]
    assert kept == _kept(last)
    for number in kept:
        assert last.load(_key(number)) is not None
    caplog.clear()
    for _ in range(3):
        last.save(_key(200), _ledger(1))
    assert 1 == last.unkept
    assert last.load(_key(200)) is None
    (record,) = caplog.records
    assert "its budget is used up, with 20 containers" in record.getMessage()
    # There is room as soon as one has gone.
    last.release(_key(5))
    last.drop_ended(_none_lives, 1)
    last.save(_key(200), _ledger(9))
    assert 0 == last.unkept
    assert _shows(_ledger(9)) == _shows(world.server(budget=budget).load(_key(200)))


def test_a_container_without_room_that_ends(world: _World) -> None:
    """It is not counted any more."""
    server = world.server(budget=_HEADER_SIZE + _SLOT_SIZE)
    server.save(_key(1), _ledger(1))
    server.save(_key(2), _ledger(1))
    assert (1, _HEADER_SIZE + _SLOT_SIZE) == (server.unkept, server.held_bytes)
    server.release(_key(2))
    assert 0 == server.unkept


@pytest.mark.parametrize("spare,slots", [(-1, 16), (0, 17), (_SLOT_SIZE - 1, 17)])
def test_budget_to_the_byte(world: _World, spare: int, slots: int) -> None:
    """The header counts, and what does not make a whole slot is left over."""
    server = world.server(budget=_HEADER_SIZE + 17 * _SLOT_SIZE + spare)
    for number in range(20):
        server.save(_key(number), _ledger(1))
    assert (20 - slots, _HEADER_SIZE + slots * _SLOT_SIZE) == (server.unkept, world.size())


def test_directory(world: _World) -> None:
    """It is made where it is not there: for all to look in, for us to write."""
    world.server().save(_key(1), _ledger(1))
    assert 0o755 == world.path.parent.stat().st_mode & 0o777


def test_least_budget(world: _World) -> None:
    """A budget below one slot is one slot."""
    server = world.server(budget=1)
    server.save(_key(1), _ledger(1))
    assert (0, _HEADER_SIZE + _SLOT_SIZE) == (server.unkept, server.held_bytes)


@pytest.mark.parametrize(
    "size,slots",
    [
        (_HEADER_SIZE, 1),
        (_HEADER_SIZE + _SLOT_SIZE - 1, 1),
        (_HEADER_SIZE + 2 * _SLOT_SIZE - 1, 1),
        (_HEADER_SIZE + 2 * _SLOT_SIZE, 2),
        (_FIRST_SIZE, 16),
    ],
)
def test_a_file_that_was_cut_short(world: _World, size: int, slots: int) -> None:
    """It has as many slots as are whole, at least one, and space for each."""
    world.server().save(_key(1), _ledger(1))
    os.truncate(world.path, size)
    server = world.server(budget=1)
    for number in range(20):
        server.save(_key(100 + number), _ledger(1))
    assert 20 - slots == server.unkept
    assert (max(size, _HEADER_SIZE + slots * _SLOT_SIZE),) * 2 == (server.held_bytes, world.size())


def test_more_cpus_than_there_were_said_to_be(world: _World) -> None:
    """A ledger that has no room in its slot is lost whole: what was shown before it is too old."""
    server = world.server()
    server.save(_key(1), _ledger(1))
    many = open_ledger(Sample(9 * _SECOND, CpuSet(range(3)), {}))
    server.save(_key(1), many)
    assert 1 == server.unkept
    assert world.server().load(_key(1)) is None
    server.save(_key(1), _ledger(4))
    assert 0 == server.unkept


def test_damaged_counters(world: _World) -> None:
    """What is no 64-bit number is not kept, and nothing is raised."""
    server = world.server()
    server.save(_key(1), _ledger(1))
    times = {0: CpuTimes(1 << 63, 0, 0)}
    server.save(_key(1), Ledger(1, times, {}, {}, CpuTime(0, 0), 0, 0, 1))
    assert _shows(_ledger(1)) == _shows(world.server().load(_key(1)))


def _full(_fd: int, offset: int, length: int) -> None:
    """Write some, as the C library does where the file system cannot allocate, and find no room for all."""
    if offset + length > _FIRST_SIZE:
        os.ftruncate(_fd, length - 5)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_to_grow(
    world: _World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without space the ledgers that are there stay, and others find room again when there is some."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    server = world.server()
    server.save(_key(0), _ledger(1))
    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", _full)
        for number in range(20):
            server.save(_key(number), _ledger(2))
        assert 4 == server.unkept
        assert world.size() == _FIRST_SIZE
        assert ["ledgers"] == [each.name for each in world.path.parent.iterdir()]
        assert 1 == len(caplog.records)
    # Not at every read: each try is system calls.
    server.save(_key(19), _ledger(3))
    assert 4 == server.unkept
    now += 5
    for number in range(20):
        server.save(_key(number), _ledger(3))
    assert 0 == server.unkept
    assert all(world.server().load(_key(number)) for number in range(20))
    # The next time that there is no room is another matter, and told again.
    with monkeypatch.context() as full:
        full.setattr(os, "posix_fallocate", _full)
        for number in range(20, 40):
            server.save(_key(number), _ledger(2))
    assert 2 == len(caplog.records)


def test_room_for_a_few(world: _World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no space for twice as many, there may be for sixteen more."""
    server = world.server()
    for number in range(32):
        server.save(_key(number), _ledger(1))
    allocate = os.posix_fallocate

    def tight(fd: int, offset: int, length: int) -> None:
        if length > _HEADER_SIZE + 48 * _SLOT_SIZE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(fd, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", tight)
    for number in range(32, 48):
        server.save(_key(number), _ledger(1))
    assert (0, _HEADER_SIZE + 48 * _SLOT_SIZE) == (server.unkept, world.size())


_Break = Callable[[pytest.MonkeyPatch, Path], None]


def _no_descriptor(monkeypatch: pytest.MonkeyPatch, _path: Path) -> None:
    def fail(*_args: object, **_options: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", fail)


def _no_memory(monkeypatch: pytest.MonkeyPatch, _path: Path) -> None:
    def fail(*_args: object) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr("mmap.mmap", fail)


def _no_space(monkeypatch: pytest.MonkeyPatch, _path: Path) -> None:
    def fail(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", fail)


def _no_directory(_monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    path.parents[1].mkdir()
    path.parent.write_text("")


@pytest.mark.parametrize("break_it", [_no_descriptor, _no_memory, _no_space, _no_directory])
def test_no_file(
    world: _World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, break_it: _Break
) -> None:
    """Without a file nothing is raised and nothing left behind; it is tried again when some time is over."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    server = world.server()
    with monkeypatch.context() as broken:
        break_it(broken, world.path)
        for _ in range(3):
            assert server.load(_key(1)) is None
            server.save(_key(1), _ledger(1))
            server.drop_ended(_none_lives, 9)
            now += 5
        assert (1, 0) == (server.unkept, server.held_bytes)
    assert 1 == len(caplog.records)
    assert not _open_below(world.path.parent)
    assert not list(world.path.parent.parent.rglob("*.new"))
    if world.path.parent.is_file():
        world.path.parent.unlink()
    server.save(_key(1), _ledger(2))
    assert 0 == server.unkept
    assert _shows(_ledger(2)) == _shows(world.server().load(_key(1)))


def test_nobody_reads(world: _World) -> None:
    """Where no CPU times were ever read, no file is made."""
    world.server().drop_ended(_none_lives, 9)
    assert not world.path.exists()


def test_what_stands_in_its_place(world: _World, tmp_path: Path) -> None:
    """A link is replaced and not followed; so is what is no file at all."""
    victim = tmp_path / "victim"
    victim.write_text("secret")
    world.make_directory()
    world.path.symlink_to(victim)
    server = world.server()
    server.save(_key(1), _ledger(1))
    assert "secret" == victim.read_text()
    assert world.path.is_file()
    assert not world.path.is_symlink()
    world.path.unlink()
    os.mkfifo(world.path)
    world.server().save(_key(1), _ledger(1))
    assert world.path.is_file()
    assert 0o600 == world.path.stat().st_mode & 0o777


def test_remains_of_a_server_that_died_while_it_made_the_file(world: _World) -> None:
    """They are replaced."""
    world.make_directory()
    world.path.with_name("ledgers.new").write_text("half")
    world.server().save(_key(1), _ledger(1))
    assert ["ledgers"] == [each.name for each in world.path.parent.iterdir()]


def test_garbage_in_a_slot_becomes_nobodys_ledger(world: _World) -> None:
    """A slot without an owner, but with a ledger, is no new container's."""
    server = world.server()
    for number in range(16):
        server.save(_key(number), _ledger(number + 1))
    content = bytearray(world.path.read_bytes())
    for number in range(16):
        at = _HEADER_SIZE + number * _SLOT_SIZE
        content[at : at + 256] = bytes(256)
    world.path.write_bytes(content)
    later = world.server()
    for number in range(16):
        assert later.load(_key(number)) is None


@pytest.mark.parametrize("init_pid,length", [(0, 0), (-1, 0), (5, 223)])
def test_impossible_owner(world: _World, init_pid: int, length: int) -> None:
    """A slot whose owner cannot have been written is given back without asking."""
    world.server().save(_key(1), _ledger(1))
    content = bytearray(world.path.read_bytes())
    at = content.index(struct.pack("=qqH", 101, 7, len("cpu\0/c1")))
    struct.pack_into("=qqH", content, at, init_pid, 7, length)
    world.path.write_bytes(content)
    later = world.server()
    later.drop_ended(_all_live, 99)
    assert later.load(_key(1)) is None


def test_double(world: _World) -> None:
    """Of two slots of one container the one written later counts."""
    server = world.server()
    server.save(_key(1), _ledger(1))
    server.save(_key(2), _ledger(2))
    content = bytearray(world.path.read_bytes())
    one, two = (content.index(struct.pack("=qq", 100 + number, 7)) - 16 for number in (1, 2))
    content[two : two + 256] = content[one : one + 256]
    struct.pack_into("=Q", content, two + 256 + 8, 1 << 40)
    struct.pack_into("=Q", content, two + 256 + 184 + 8, 1 << 40)
    world.path.write_bytes(content)
    assert _shows(_ledger(2)) == _shows(world.server().load(_key(1)))


def test_foreign_numbers(world: _World) -> None:
    """A ledger that is whole, but of a length that none has, is none."""
    server = world.server(cpus=1)
    server.save(_key(1), Ledger(1, {}, {}, {}, CpuTime(0, 0), 0, 0, 1))
    assert server.load(_key(1)) is not None
    content = bytearray(world.path.read_bytes())
    at = content.index(struct.pack("=II", 6, zlib.crc32(struct.pack("=6q", 1, 0, 0, 0, 0, 1)))) - 16
    for count in (5, 7, 12):
        numbers = struct.pack(f"={count}q", *range(count))
        struct.pack_into("=II", content, at + 16, count, zlib.crc32(numbers))
        content[at + 24 : at + 24 + len(numbers)] = numbers
        world.path.write_bytes(content)
        assert world.server(cpus=1).load(_key(1)) is None


def test_the_latest_counts_whatever_it_says(world: _World) -> None:
    """A container whose init was replaced is younger than before: not the larger ledger is the newer one."""
    server = world.server()
    for seconds in (9, 7, 5, 3, 8, 1):
        server.save(_key(1), _ledger(seconds))
        assert _shows(_ledger(seconds)) == _shows(world.server().load(_key(1)))
