"""The answers to FUSE requests."""

import errno
import logging
import os
import select
import stat
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from pylxcfs.cgroup.types import Pressure
from pylxcfs.containers.container import Container
from pylxcfs.content.service import ContentService
from pylxcfs.fuse.frames import IN_HEADER, Opcode
from pylxcfs.fuse.gate import Sleeper
from pylxcfs.fuse.node import ROOT_INODE
from pylxcfs.fuse.operations import ANSWERED, Operations
from pylxcfs.fuse.partial_reads import Handle, Passes
from pylxcfs.fuse.tree import Tree, build_nodes
from pylxcfs.fuse.triggers import NO_EVENTS, TriggerError, Triggers
from pylxcfs.linux.hosttree import HostTree, HostTreeError
from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile
from tests.unit.kernel import Kernel, Refused


class _Counting:
    """Content that says how often it was rendered, or has a bug."""

    lifetime_seconds = 0
    shows_host = False

    def is_io_worker(self, pid: int) -> bool:
        """Tell nobody for one."""
        del pid
        return False

    def __init__(self, count: int = 0) -> None:
        self.error: Exception | None = None
        self._count = count

    def file_for(self, file: VirtualFile, pid: int) -> VirtualFile:
        del pid
        return file

    def who(self, pid: int) -> None:
        del pid

    def give_up(self, file: VirtualFile) -> bytes:
        return f"{file.path} fallback\n".encode()

    def open(self, file: VirtualFile, pid: int) -> tuple[Container | None, bytes]:
        del pid
        return None, self.read(file, None)

    def is_made(self, container: Container | None) -> bool:
        return container is None

    def read(self, file: VirtualFile, container: Container | None) -> bytes:
        del container
        if self.error is not None:
            raise self.error
        self._count += 1
        return f"{file.path} {self._count}\n".encode()


@pytest.fixture
def content() -> _Counting:
    """Return the content that is served."""
    return _Counting()


@pytest.fixture
def kernel(tmp_path: Path, content: _Counting) -> Iterator[Kernel]:
    """Ask a file system over the content, on a host that has every file of the table."""
    for file in VIRTUAL_FILES:
        if file.path.startswith("sys/"):
            (tmp_path / Path(file.path).name).touch()
    tree = Tree(VIRTUAL_FILES, HostTree(tmp_path))
    passes = Passes(tmp_path / "passes")
    with Kernel(lambda gate: Operations(tree, cast("ContentService", content), passes, gate)) as kernel:
        yield kernel


class _Triggers(Triggers):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def set(self, handle: Handle, resource: Pressure, container: Container | None, text: bytes) -> None:
        if not text:
            raise TriggerError(errno.EINVAL)
        self.told.append((handle, resource, container, text))

    def poll(self, handle: Handle, sleeper: Sleeper | None) -> int:
        self.told.append((handle, sleeper is not None))
        return select.POLLPRI

    def remove(self, handle: Handle) -> None:
        self.told.append(handle)


@pytest.fixture
def triggers() -> _Triggers:
    """Return what is told of triggers."""
    return _Triggers()


@pytest.fixture
def polled(tmp_path: Path, content: _Counting, triggers: _Triggers) -> Iterator[Kernel]:
    """Ask a file system with triggers."""
    tree = Tree(VIRTUAL_FILES, HostTree(tmp_path), triggers=True)
    passes = Passes(tmp_path / "passes")
    passed_on = ANSWERED | {Opcode.POLL}
    with Kernel(
        lambda gate: Operations(tree, cast("ContentService", content), passes, gate, triggers), passed_on
    ) as kernel:
        yield kernel


def _refusal(call: Callable[[], object]) -> int:
    with pytest.raises(Refused) as refused:
        call()
    return refused.value.number


def test_every_file_is_found(kernel: Kernel) -> None:
    """Each row is found by its path, as a file of its mode, under an inode of its own."""
    entries = [kernel.find(file.path) for file in VIRTUAL_FILES]
    assert [stat.S_IFREG | file.mode for file in VIRTUAL_FILES] == [entry.mode for entry in entries]
    assert {"proc/slabinfo": 0o400} == {file.path: file.mode for file in VIRTUAL_FILES if file.mode != 0o444}
    assert len(VIRTUAL_FILES) == len({entry.inode for entry in entries})
    assert all(entry == kernel.find(file.path) for entry, file in zip(entries, VIRTUAL_FILES, strict=True))
    assert 0o40555 == kernel.get_attributes(kernel.find("proc").inode).mode


def test_inodes_do_not_depend_on_the_table() -> None:
    """A table with fewer files gives the same inodes to those that it has."""
    assert build_nodes(VIRTUAL_FILES[3:4]).keys() <= build_nodes(VIRTUAL_FILES).keys()


@pytest.mark.parametrize("size", [200, 4096])
def test_listing(kernel: Kernel, size: int) -> None:
    """A directory lists every file with its type, however small the pieces."""
    names = {file.path.split("/")[1] for file in VIRTUAL_FILES if file.path.startswith("proc/")}
    listed = kernel.list(kernel.find("proc").inode, 1, size)
    assert dict.fromkeys(names, 0o100000) | {"pressure": 0o40000} == listed
    below = kernel.list(kernel.find("proc/pressure").inode, 1, size)
    assert dict.fromkeys(("cpu", "io", "irq", "memory"), 0o100000) == below
    assert {"proc": 0o40000, "sys": 0o40000} == kernel.list(ROOT_INODE, 1, size)


def test_one_pass_sees_one_content(kernel: Kernel) -> None:
    """Reads at other offsets continue what the start gave; a read from the start renders anew."""
    handle = kernel.open("proc/meminfo")
    reads = [kernel.read(handle, offset, size) for offset, size in ((0, 5), (5, 99), (15, 99))]
    assert [b"proc/", b"meminfo 1\n", b""] == reads
    assert b"proc/meminfo 2\n" == kernel.read(handle, 0, 99)
    assert b"" == kernel.read(handle, 1 << 62, 99)


def test_a_reader_goes_on_at_another_server(tmp_path: Path) -> None:
    """What was not read of a pass is had from its successor; the next pass is the successor's own."""
    tree = Tree(VIRTUAL_FILES, HostTree(tmp_path))

    def server(count: int) -> Kernel:
        content, passes = cast("ContentService", _Counting(count)), Passes(tmp_path / "passes")
        return Kernel(lambda gate: Operations(tree, content, passes, gate))

    with server(0) as first:
        inode = first.find("proc/meminfo").inode
        half, whole, new = (first.open("proc/meminfo") for _ in range(3))
        assert b"proc/" == first.read(half, 0, 5)
        assert b"proc/meminfo 2\n" == first.read(whole, 0, 99)
    with server(100) as second:
        assert b"meminfo 1\n" == second.read(half, 5, 99, inode=inode)
        assert b"" == second.read(half, 15, 99)
        assert b"" == second.read(whole, 15, 99, inode=inode)
        assert b"proc/meminfo 101\n" == second.read(new, 0, 99, inode=inode)
        assert b"proc/meminfo 102\n" == second.read(half, 0, 99)
        assert 3 == second.operations.open_files
        with pytest.raises(Refused) as refused:
            second.read(Handle(99), 0, 9, inode=77)
        assert errno.ESTALE == refused.value.number


def test_what_could_not_be_kept(tmp_path: Path) -> None:
    """A reader in the middle of it gets an error from the next server, and can begin anew."""
    tree, lost = Tree(VIRTUAL_FILES, HostTree(tmp_path)), tmp_path / "lost"

    def server() -> Kernel:
        content, passes = cast("ContentService", _Counting()), Passes(lost)
        return Kernel(lambda gate: Operations(tree, content, passes, gate))

    with server() as first:
        inode = first.find("proc/meminfo").inode
        half = first.open("proc/meminfo")
        assert b"proc/" == first.read(half, 0, 5)
    (kept,) = lost.iterdir()
    kept.write_bytes(b"")
    with server() as second:
        assert errno.EIO == _refusal(lambda: second.read(half, 5, 99, inode=inode))
        assert b"proc/meminfo 1\n" == second.read(half, 0, 99, inode=inode)


def test_two_handles_are_two_readers(kernel: Kernel) -> None:
    """Each open file has its own content."""
    one, two = kernel.open("proc/stat"), kernel.open("proc/stat")
    assert (b"proc/stat 1\n", b"proc/stat 2\n") == (kernel.read(two, 0, 99), kernel.read(one, 0, 99))
    assert (b"1\n", b"2\n") == (kernel.read(two, 10, 99), kernel.read(one, 10, 99))


def test_the_page_cache_gets_nothing(kernel: Kernel) -> None:
    """All containers share a file's page cache, so what would fill it is refused."""
    handle = kernel.open("proc/meminfo")
    assert errno.EINVAL == _refusal(lambda: kernel.read(handle, 0, 4096, read_flags=0))
    assert b"proc/meminfo 1\n" == kernel.read(handle, 0, 4096)


def test_a_bug_is_eio_and_serving_goes_on(
    kernel: Kernel, content: _Counting, caplog: pytest.LogCaptureFixture
) -> None:
    """An unforeseen exception is EIO for its reader, logged each time, and nothing else."""
    content.error = ZeroDivisionError()
    with caplog.at_level(logging.ERROR):
        assert [errno.EIO] * 3 == [
            _refusal(lambda: kernel.read(kernel.open("proc/meminfo"), 0, 99)) for _ in range(3)
        ]
    assert 3 == len(caplog.records)
    content.error = None
    assert b"proc/meminfo 1\n" == kernel.read(kernel.open("proc/meminfo"), 0, 99)


@pytest.mark.parametrize(
    "expected,opcode,body",
    [
        (errno.ENOENT, Opcode.LOOKUP, b"nothing\0"),
        (errno.EISDIR, Opcode.OPEN, bytes(8)),
        (errno.EIO, Opcode.WRITE, bytes(40)),
        (errno.EINVAL, Opcode.FSYNC, bytes(16)),
        (errno.ENOENT, Opcode.MKDIR, bytes(8) + b"x\0"),
        (errno.ENOENT, Opcode.MKNOD, bytes(16) + b"x\0"),
        (errno.ENOENT, Opcode.CREATE, bytes(16) + b"x\0"),
        (errno.EPERM, Opcode.UNLINK, b"proc\0"),
        (errno.EPERM, Opcode.RENAME, struct.pack("=Q", ROOT_INODE) + b"proc\0sys\0"),
        (errno.ENOENT, Opcode.RENAME, struct.pack("=Q", ROOT_INODE) + b"proc\0x\0"),
        (errno.ENOENT, Opcode.RENAME2, struct.pack("=QII", ROOT_INODE, 0, 0) + b"proc\0x\0"),
        (errno.EPERM, Opcode.SETATTR, struct.pack("=II80x", 1, 0)),
        (errno.ENOSYS, Opcode.FLUSH, bytes(24)),
        (errno.ENOSYS, 4096, b""),
    ],
)
def test_refusals(kernel: Kernel, expected: int, opcode: int, body: bytes) -> None:
    """What cannot be done has the errno of /proc; what is unknown is ENOSYS."""
    assert expected == _refusal(lambda: kernel.ask(opcode, ROOT_INODE, body))


def test_more_refusals(kernel: Kernel) -> None:
    """An unknown number is stale, a file is no directory."""
    assert errno.ESTALE == _refusal(lambda: kernel.get_attributes(77))
    assert errno.ENOTDIR == _refusal(lambda: kernel.list(kernel.find("proc/stat").inode, 1, 999))


def test_a_request_cut_short(kernel: Kernel, caplog: pytest.LogCaptureFixture) -> None:
    """A message shorter than its kind needs is answered, not an exception."""
    assert errno.EINVAL == _refusal(lambda: kernel.ask(Opcode.READ, ROOT_INODE, bytes(3)))
    assert [] == caplog.records


def test_errnos_of_the_kernels_own(kernel: Kernel, content: _Counting) -> None:
    """What sysfs says and no program may see is EIO: the kernel would refuse to take it from us."""
    content.error = HostTreeError(524)
    handle = kernel.open("proc/meminfo")
    assert errno.EIO == _refusal(lambda: kernel.read(handle, 0, 99))


@pytest.mark.parametrize("minor,agreed", [(27, 27), (31, 31), (45, 31)])
def test_versions(kernel: Kernel, minor: int, agreed: int) -> None:
    """We agree on the older of both minor versions, and refuse another major one."""
    answer = kernel.ask(Opcode.INIT, 0, struct.pack("=IIII", 7, minor, 131072, 0))
    assert (64, 7, agreed) == (len(answer), *struct.unpack_from("=II", answer))
    assert errno.EPROTO == _refusal(lambda: kernel.ask(Opcode.INIT, 0, struct.pack("=IIII", 8, 0, 0, 0)))


def test_triggers_reach_who_keeps_them(polled: Kernel, triggers: _Triggers) -> None:
    """Writing, polling and closing a pressure file are passed on, with the resource and who opened it."""
    handle = polled.open("proc/pressure/memory", os.O_RDWR)
    assert 4 == polled.write(handle, b"text")
    assert [select.POLLPRI] * 2 == [polled.poll(handle, 77), polled.poll(handle, 77, flags=0)]
    polled.release(handle)
    assert [
        (handle, Pressure.MEMORY, None, b"text"),
        (handle, True),
        (handle, False),
        handle,
    ] == triggers.told


def test_a_refused_trigger_is_refused(polled: Kernel) -> None:
    """Whatever keeps triggers says is the answer."""
    handle = polled.open("proc/pressure/memory", os.O_RDWR)
    assert errno.EINVAL == _refusal(lambda: polled.write(handle, b""))


def test_other_files_have_no_triggers(polled: Kernel, triggers: _Triggers) -> None:
    """With triggers too, no other file can be written, and each can be read at any time."""
    handle = polled.open("proc/meminfo", os.O_RDWR)
    assert errno.EIO == _refusal(lambda: polled.write(handle, b"text"))
    assert [NO_EVENTS] * 2 == [polled.poll(handle, 77), polled.poll(99, 77)]
    assert [] == triggers.told


def test_modes_with_triggers(polled: Kernel) -> None:
    """Everybody may write a pressure file where triggers are allowed, and nobody elsewhere."""
    paths = [file.path for file in VIRTUAL_FILES if not file.path.startswith("sys/")]
    writable = {path for path in paths if polled.find(path).mode & 0o222}
    assert {f"proc/pressure/{resource.value}" for resource in Pressure} == writable
    assert {0o100666} == {polled.find(path).mode for path in writable}
    without = build_nodes(VIRTUAL_FILES)
    assert {0o100444} == {without[polled.find(path).inode].attributes.st_mode for path in writable}


def test_without_triggers_nothing_is_polled(kernel: Kernel) -> None:
    """Writing is refused and polling unknown, after which the kernel polls no file any more."""
    handle = kernel.open("proc/pressure/memory", os.O_RDWR)
    assert errno.EIO == _refusal(lambda: kernel.write(handle, b"text"))
    assert errno.ENOSYS == _refusal(lambda: kernel.poll(handle, 77))


def test_answers_are_counted(kernel: Kernel, content: _Counting) -> None:
    """Requests are counted by opcode, refusals by errno, and our own mistakes apart from them."""
    kernel.find("proc/meminfo")
    handle = kernel.open("proc/meminfo")
    assert errno.EIO == _refusal(lambda: kernel.write(handle, b"text"))
    content.error = ZeroDivisionError()
    assert errno.EIO == _refusal(lambda: kernel.read(handle, 0, 99))
    counts = kernel.gate.counts
    counted = {Opcode(n).name: count for n, count in enumerate(counts.requests) if count}
    assert {"LOOKUP": 4, "OPEN": 1, "READ": 1, "WRITE": 1} == counted
    assert ({errno.EIO: 1}, 1) == (counts.refused, counts.failed)
    assert 1 == kernel.operations.open_files


def test_lengths(kernel: Kernel) -> None:
    """What stat(2) says is what the asker's open file reads, or a new one would."""
    inode = kernel.find("proc/meminfo").inode
    assert (15, 0) == (kernel.get_attributes(inode).size, kernel.get_attributes(inode).attr_timeout)
    for _ in range(8):
        kernel.get_attributes(inode)
    assert 16 == kernel.get_attributes(inode).size
    first, second = kernel.open_inode(inode, pid=5), kernel.open_inode(inode, pid=6)
    assert b"proc/meminfo 12\n" == kernel.read(first, 0, 99)
    assert 16 == kernel.get_attributes(inode, 5).size
    kernel.release(second)
    kernel.release(first)
    assert 0 == kernel.operations.open_files
    lengths = kernel.operations._virtual._lengths
    assert ({}, {}) == (lengths._own, lengths._latest)


def test_what_was_told_is_read(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content that is new at the first read, if it is as long as was told; else what was told."""
    monkeypatch.setattr("pylxcfs.fuse.handles._SAME_MOMENT_SECONDS", 0)
    inode = kernel.find("proc/meminfo").inode
    handle = kernel.open_inode(inode, pid=5)
    assert 15 == kernel.get_attributes(inode, 5).size
    assert b"proc/meminfo 2\n" == kernel.read(handle, 0, 99)
    for _ in range(6):
        kernel.read(handle, 0, 99)
    assert 15 == kernel.get_attributes(inode, 5).size
    assert b"proc/meminfo 9\n" == kernel.read(handle, 0, 99)
    assert b"proc/meminfo 11\n" == kernel.read(handle, 0, 99)


def test_lseek_is_about_its_own_file(kernel: Kernel) -> None:
    """The kernel names the open file whose end is sought, also where its thread has opened another since."""
    inode = kernel.find("proc/meminfo").inode
    first = kernel.open_inode(inode, pid=5)
    assert b"proc/" == kernel.read(first, 0, 5)
    for _ in range(9):
        kernel.read(kernel.open_inode(inode, pid=5), 0, 99)
    kernel.open_inode(inode, pid=5)
    assert [16, 15] == [kernel.get_attributes(inode, 5, handle).size for handle in (None, first)]


def test_an_answer_that_nobody_waited_for(kernel: Kernel) -> None:
    """What an OPEN or OPENDIR has made is undone, where its asker was killed; no other request makes any."""
    operations = kernel.operations
    kernel.open("proc/meminfo")
    operations.take_back()
    assert 0 == operations.open_files
    kernel.ask(Opcode.OPENDIR, ROOT_INODE, bytes(8))
    assert 1 == len(operations._listings)
    operations.take_back()
    assert 0 == len(operations._listings)
    kernel.open("proc/meminfo")
    kernel.ask(Opcode.OPENDIR, ROOT_INODE, bytes(8))
    kernel.find("proc")
    operations.take_back()
    assert (1, 1) == (operations.open_files, len(operations._listings))


def test_a_request_that_servers_have_died_of(kernel: Kernel) -> None:
    """An OPEN that is sent again after that has the fallback to read; any other one has the content."""
    kernel.gate._doubted = frozenset({9})
    inode = kernel.find("proc/meminfo").inode
    shown = []
    for unique in (9, 1 << 63 | 8, 1 << 63 | 9):
        kernel.send(IN_HEADER.pack(48, Opcode.OPEN, unique, inode, 0, 0, 1, 0) + bytes(8))
        answered, number, body = kernel.receive()
        assert (unique, 0) == (answered, number)
        handle, _flags, _backing = struct.unpack("=QII", body)
        shown.append(kernel.read(handle, 0, 99))
    assert [b"proc/meminfo 1\n", b"proc/meminfo 2\n", b"proc/meminfo fallback\n"] == shown


def test_a_length_that_servers_have_died_of(kernel: Kernel) -> None:
    """Who asks for it has the fallback's, and its next OPEN the fallback; no other thread has."""
    kernel.gate._doubted = frozenset({9})
    inode = kernel.find("proc/meminfo").inode
    kernel.send(IN_HEADER.pack(56, Opcode.GETATTR, 1 << 63 | 9, inode, 0, 0, 7, 0) + bytes(16))
    _, number, body = kernel.receive()
    (size,) = struct.unpack_from("=Q", body, 24)
    assert (0, len(b"proc/meminfo fallback\n")) == (number, size)
    shown = [
        kernel.read(kernel.open(path, pid=pid), 0, 99)
        for path, pid in (("proc/meminfo", 8), ("proc/stat", 7), ("proc/meminfo", 7))
    ]
    assert [b"proc/meminfo 1\n", b"proc/stat 2\n", b"proc/meminfo fallback\n"] == shown


def test_nothing_is_cached(kernel: Kernel) -> None:
    """Each OPEN is answered with FOPEN_DIRECT_IO (1) and without FOPEN_KEEP_CACHE (2)."""
    inode = kernel.find("proc/meminfo").inode
    _handle, flags, _backing = struct.unpack("=QII", kernel.ask(Opcode.OPEN, inode, bytes(8)))
    assert 1 == flags & 3


@pytest.mark.parametrize(
    "path,uid,number", [("proc/slabinfo", 1000, errno.EACCES), ("proc/meminfo", 1000, 0)]
)
def test_who_may_read(kernel: Kernel, path: str, uid: int, number: int) -> None:
    """What the kernel's own /proc lets root alone read, root alone reads here."""
    for user, expected in ((uid, number), (0, 0)):
        inode = kernel.find(path).inode
        kernel.send(IN_HEADER.pack(48, Opcode.OPEN, 8, inode, user, user, os.getpid(), 0) + bytes(8))
        assert (8, expected) == kernel.receive()[:2]
