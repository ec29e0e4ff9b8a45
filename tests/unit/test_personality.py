"""Personalities: whose they are, and what the host tells whom."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from pylxcfs.accounting.load_tracker import LoadTracker
from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.config import ViewConfig
from pylxcfs.containers.container import Container
from pylxcfs.containers.processes import Processes
from pylxcfs.containers.procpid import is_linux32
from pylxcfs.containers.resolver import Resolver
from pylxcfs.content.service import ContentService
from pylxcfs.content.viewbuilder import ViewBuilder
from pylxcfs.linux.personality import linux32
from pylxcfs.procfiles.table import CPUINFO, VIRTUAL_FILES
from pylxcfs.view.host import HostReader
from tests.support.capabilities import needing

OWN = "thread-self/personality"


@pytest.fixture
def host() -> HostReader:
    """Return the reader of this machine."""
    return HostReader(Path("/proc"), Path("/sys"))


@pytest.fixture
@needing("personality")
def child() -> Iterator[int]:
    """Return a process with a 32-bit personality."""
    command = ["setarch", "linux32", "--addr-no-randomize", "sh", "-c", "echo; read _"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"\n" == process.stdout.readline()
        yield process.pid
        process.kill()


@pytest.mark.parametrize(
    "text, domain",
    [(b"00000000\n", "native"), (b"00000008\n", "32"), (b"00040008\n", "32"), (b"04000000\n", "native")],
)
def test_flags_do_not_count(text: bytes, domain: str) -> None:
    """Only the execution domain makes a personality a 32-bit one."""
    assert domain == ("32" if is_linux32(text) else "native")


def test_the_kernel_reads_for_another_personality(host: HostReader) -> None:
    """A file is read under the 32-bit personality if asked for, and under the daemon's own afterwards."""
    own = host.read(OWN)
    assert [True, False] == [is_linux32(host.read(OWN, as_linux32=True)), is_linux32(own)]
    assert own == host.read(OWN)


def test_a_failed_read_leaves_the_daemon_as_it_was(host: HostReader) -> None:
    """The personality does not stay when the read fails."""
    machine = os.uname().machine
    with pytest.raises(IsADirectoryError):
        host.read("sys", as_linux32=True)
    assert machine == os.uname().machine


#: A seccomp filter that answers personality(2) with EPERM, as LockPersonality= does (linux/seccomp.h).
_LOCKED: Final = """
import ctypes, os, struct, sys
from pathlib import Path
from pylxcfs.view.host import HostReader
number = {"x86_64": 135, "aarch64": 92}[os.uname().machine]
code = b"".join(
    struct.pack("=HBBI", *each)
    for each in ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000))
)
buffer = ctypes.create_string_buffer(code)
program = struct.pack("@HP", 4, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert 0 == libc.prctl(38, 1, 0, 0, 0)
assert 0 == libc.prctl(22, 2, program, 0, 0)
assert -1 == libc.personality(8) and 1 == ctypes.get_errno()
sys.stdout.buffer.write(HostReader(Path("/proc"), Path("/sys")).read(sys.argv[1], as_linux32=True))
"""


def test_a_locked_personality_costs_no_file() -> None:
    """Where a filter forbids another personality, the ordinary file is read in its place."""
    done = subprocess.run([sys.executable, "-c", _LOCKED, OWN], check=True, capture_output=True)
    assert not is_linux32(done.stdout)


def test_other_threads_keep_theirs() -> None:
    """It is the reading thread's personality alone."""
    machine = os.uname().machine
    ask = threading.Event()
    seen: list[str] = []

    def look() -> None:
        ask.wait()
        seen.append(os.uname().machine)

    other = threading.Thread(target=look)
    other.start()
    with linux32():
        inside = os.uname().machine
        ask.set()
        other.join()
    assert [machine] == seen
    assert machine != inside


class _HostOnly(Resolver):
    """Takes everybody for a process of the host."""

    def resolve(self, pid: int) -> Container | None:
        """Know nobody, as pid 0, who is invisible to us."""
        del pid
        return super().resolve(0)


@pytest.fixture
def content(tmp_path: Path, host: HostReader) -> ContentService:
    """Serve a machine whose cpuinfo is the personality that it is read with, as on arm64."""
    (tmp_path / "cpuinfo").symlink_to(f"/proc/{OWN}")
    files = CgroupFiles({}, 1)
    reader = V1Reader(files)
    processes = Processes(host.proc_fd)
    like_arm64 = HostReader(tmp_path, Path("/sys"))
    like_arm64.heeds_personality = True
    builder = ViewBuilder(reader, LoadTracker(reader, processes), ViewConfig())
    resolver = _HostOnly(processes, reader, files, ())
    return ContentService(like_arm64, reader, resolver, builder, cache_ttl_seconds=3600)


def test_each_reader_gets_its_own(content: ContentService, child: int) -> None:
    """Readers of either kind get what the kernel would tell them, cached or not; nobody is ordinary."""
    answers = [
        is_linux32(content.open(content.file_for(CPUINFO, pid), pid)[1])
        for pid in (child, os.getpid(), child, 0, 1 << 30, os.getpid())
    ]
    assert [True, False, True, False, False, False] == answers


def test_only_cpuinfo_has_two_kinds(content: ContentService, child: int) -> None:
    """No other file is asked for a personality."""
    others = [file for file in VIRTUAL_FILES if file is not CPUINFO]
    assert others == [content.file_for(file, child) for file in others]


def test_other_machines_do_not_ask(content: ContentService, host: HostReader, child: int) -> None:
    """Where the kernel says the same to all, so do we: arm64 alone tells them apart."""
    assert (os.uname().machine == "aarch64") == host.heeds_personality
    content._host.heeds_personality = False
    assert CPUINFO is content.file_for(CPUINFO, child)
