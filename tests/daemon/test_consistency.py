"""Snapshots: what one open file says stays the same until it is read from its beginning again."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container, joining
from tests.support.daemon import Daemon
from tests.support.invariants import check_meminfo, check_stat
from tests.support.readings import meminfo
from tests.support.waiting import wait_for

#: Opens a file and answers each line of input: "SIZE" reads so many bytes, "seek" goes to the beginning,
#: "open" opens it anew. The answer is the content's Python spelling.
_READER: Final = """
import os, sys
path = sys.argv[1]
file = os.open(path, os.O_RDONLY)
for line in sys.stdin:
    if line == "seek\\n":
        print(os.lseek(file, 0, os.SEEK_SET), flush=True)
    elif line == "open\\n":
        os.close(file)
        print(file := os.open(path, os.O_RDONLY), flush=True)
    else:
        print(os.read(file, int(line)).hex(), flush=True)
"""
#: Reads a file to its end again and again with a buffer of 1 KiB and prints what came together.
_SMALL_BUFFER: Final = """
import os, sys
for _ in range(int(sys.argv[2])):
    file = os.open(sys.argv[1], os.O_RDONLY)
    parts = []
    while part := os.read(file, 1024):
        parts.append(part)
    os.close(file)
    print(b"".join(parts).hex(), flush=True)
"""
#: Takes and frees memory and CPU time until it is killed.
_CHURN: Final = """
print("started", flush=True)
while True:
    for size in (5, 20, 40):
        held = b"x" * (size << 20)
"""
_PARALLEL_READS: Final = 1000
_READERS: Final = 16

MakeContainer = Callable[..., Container]


def _python(program: str, *argv: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", program, *argv]


class Reader:
    """A process in a cgroup that holds one file open and reads as it is told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        """Talk to a process that runs `_READER`."""
        self._process = process

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        return self._process.stdout.readline().strip()

    def read(self, size: int = 1 << 20) -> str:
        """Read on from where the file stands."""
        return bytes.fromhex(self._ask(str(size))).decode()

    def seek_to_start(self) -> None:
        """Go back to the file's beginning."""
        assert self._ask("seek") == "0"

    def reopen(self) -> None:
        """Close the file and open it anew."""
        assert int(self._ask("open")) > 2


@contextmanager
def reader(group: Cgroup, path: Path) -> Iterator[Reader]:
    """Run a `Reader` on `path`, in `group`."""
    command = joining(group.directories, *_python(_READER, str(path)))
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        yield Reader(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def uncached(start_daemon: Callable[..., Daemon]) -> Path:
    """Serve files that are rendered at every open."""
    return start_daemon("--cache-ttl", "0").proc


def test_limit_changed_between_two_reads(uncached: Path, make_cgroup: Callable[..., Cgroup]) -> None:
    """The rest of a file that was begun belongs to its beginning, whatever changed since."""
    group = make_cgroup(Limits(memory=100 * MIB))
    with reader(group, uncached / "meminfo") as file:
        start = file.read(64)
        group.set_memory(50 * MIB)
        assert meminfo((uncached / "meminfo").read_text())  # another reader does not disturb
        fields = check_meminfo(start + file.read())
        assert fields["MemTotal"] == 100 * 1024
        assert fields["MemFree"] > 60 * 1024
        assert file.read() == ""


def test_seek_refreshes(uncached: Path, make_cgroup: Callable[..., Cgroup]) -> None:
    """Going back to the beginning of an open file reads the present values."""
    group = make_cgroup(Limits(memory=100 * MIB))
    with reader(group, uncached / "meminfo") as file:
        assert check_meminfo(file.read())["MemTotal"] == 100 * 1024
        group.set_memory(50 * MIB)
        file.seek_to_start()
        assert check_meminfo(file.read())["MemTotal"] == 50 * 1024


def test_open_refreshes(uncached: Path, make_cgroup: Callable[..., Cgroup]) -> None:
    """A file opened anew has the present values."""
    group = make_cgroup(Limits(memory=100 * MIB))
    with reader(group, uncached / "meminfo") as file:
        assert check_meminfo(file.read())["MemTotal"] == 100 * 1024
        group.set_memory(50 * MIB)
        file.reopen()
        assert check_meminfo(file.read())["MemTotal"] == 50 * 1024


def test_seek_refreshes_with_cache(daemon: Daemon, make_cgroup: Callable[..., Cgroup]) -> None:
    """Going back to the beginning refreshes with the default cache too, once that has aged."""
    group = make_cgroup(Limits(memory=100 * MIB))
    with reader(group, daemon.proc / "meminfo") as file:
        assert check_meminfo(file.read())["MemTotal"] == 100 * 1024
        group.set_memory(50 * MIB)

        def fresh() -> bool:
            file.seek_to_start()
            return check_meminfo(file.read())["MemTotal"] == 50 * 1024

        wait_for("new limit is read", fresh)


@pytest.mark.parametrize("ttl", ["0", "0.05"])
def test_small_buffer(start_daemon: Callable[..., Daemon], make_container: MakeContainer, ttl: str) -> None:
    """A reader with a 1 KiB buffer gets whole, consistent files while the values change."""
    container = make_container(Limits(memory=100 * MIB), served=start_daemon("--cache-ttl", ttl).proc)
    with container.start(*_python(_CHURN)) as churn:
        assert churn.stdout is not None
        assert churn.stdout.readline() == "started\n"
        for file, check in (("meminfo", check_meminfo), ("stat", check_stat)):
            texts = container.run(*_python(_SMALL_BUFFER, f"/proc/{file}", "200")).split()
            for text in texts:
                check(bytes.fromhex(text).decode())
            assert len(texts) == 200
        container.kill()


@pytest.mark.parametrize("file", ["cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime"])
def test_offsets_beyond_the_end(daemon: Daemon, file: str) -> None:
    """Beyond a file's end there is nothing, and no error."""
    descriptor = os.open(daemon.proc / file, os.O_RDONLY)
    try:
        size = len(os.read(descriptor, 1 << 20))
        offsets = (size + 1000, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 4096)
        assert [os.pread(descriptor, 100, offset) for offset in offsets] == [b""] * len(offsets)
    finally:
        os.close(descriptor)


def test_pieces_make_the_whole(daemon: Daemon) -> None:
    """Reads at any offsets of an open file are pieces of one text."""
    descriptor = os.open(daemon.proc / "stat", os.O_RDONLY)
    try:
        whole = os.pread(descriptor, 1 << 20, 0)
        pieces = [os.pread(descriptor, 7, offset) for offset in range(len(whole) - 1, 0, -1)]
        assert pieces == [whole[offset : offset + 7] for offset in range(len(whole) - 1, 0, -1)]
    finally:
        os.close(descriptor)


def test_first_read_in_the_middle(daemon: Daemon) -> None:
    """A file that is first read in the middle has its content there."""
    descriptor = os.open(daemon.proc / "cpuinfo", os.O_RDONLY)
    try:
        middle = os.pread(descriptor, 20, 30)
        assert os.pread(descriptor, 50, 0)[30:] == middle
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("file", ["cpuinfo", "meminfo", "stat", "swaps", "uptime"])
def test_sendfile(daemon: Daemon, new_directory: Callable[[str], Path], file: str) -> None:
    """sendfile(2) would share the page cache between containers, so it fails and programs read(2) instead.

    Linux before 6.5 reads past the page cache here, as read(2) does.
    """
    shares = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 5)
    copy = new_directory("copy") / file
    with (daemon.proc / file).open("rb") as source, copy.open("wb") as target:
        for _ in range(2):
            if shares:
                with pytest.raises(OSError, match="Invalid argument"):
                    os.sendfile(target.fileno(), source.fileno(), None, 1 << 20)
            else:
                source.seek(0)
                assert os.sendfile(target.fileno(), source.fileno(), None, 1 << 20) > 0
        source.seek(0)
        assert b"\n" in source.read()
    printed = subprocess.run(["busybox", "cat", daemon.proc / file], check=True, capture_output=True).stdout
    assert (daemon.proc / file).read_bytes().count(b"\n") == printed.count(b"\n") > 0


def test_one_byte_at_a_time(daemon: Daemon) -> None:
    """A shell's `read`, one byte at a time, gets the first line."""
    done = subprocess.run(
        ["sh", "-c", 'read -r line < "$1"; echo "$line"', "read", daemon.proc / "swaps"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("Filename")


def test_parallel_reads(daemon: Daemon, make_container: MakeContainer) -> None:
    """A thousand reads at the same time, from containers of two sizes, all get their own container's file."""
    containers = {mebibytes: make_container(Limits(memory=mebibytes * MIB)) for mebibytes in (50, 100)}
    share = _PARALLEL_READS // _READERS // len(containers)

    def read(mebibytes: int) -> list[bytes]:
        command = _python(_SMALL_BUFFER, "/proc/meminfo", str(share + 1))
        return [bytes.fromhex(text) for text in containers[mebibytes].run(*command).split()]

    with ThreadPoolExecutor(_READERS * len(containers)) as pool:
        jobs = [(size, pool.submit(read, size)) for size in containers for _ in range(_READERS)]
    results = [(size, text.decode()) for size, job in jobs for text in job.result()]
    assert len(results) >= _PARALLEL_READS
    assert all(check_meminfo(text)["MemTotal"] == size * 1024 for size, text in results)
    assert daemon.running()


def test_parallel_reads_of_one_open_file(daemon: Daemon) -> None:
    """Threads that share one open file each get whole texts."""
    descriptor = os.open(daemon.proc / "cpuinfo", os.O_RDONLY)
    try:
        with ThreadPoolExecutor(_READERS) as pool:
            texts = list(pool.map(lambda _: os.pread(descriptor, 1 << 20, 0), range(_PARALLEL_READS)))
    finally:
        os.close(descriptor)
    assert {text.count(b"processor") for text in texts} == {texts[0].count(b"processor")}
    assert all(text.endswith(b"\n") for text in texts)
