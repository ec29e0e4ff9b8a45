"""A container that mounts as much as it can delays nobody else's files, and gets its own."""

import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import psutil
import pytest

from pylxcfs.containers.processes import HeldProcess, Processes
from pylxcfs.reattach.namespaces import each_namespace
from pylxcfs.reattach.survey import MOST_PLACES
from tests.support.cgroups import MIB, Limits
from tests.support.container import FILES, Container
from tests.support.operator import Site, mount_table
from tests.support.readings import meminfo

MakeBound = Callable[..., Container]
_OURS: Final = 8_000
_LINES: Final = 20_000
#: Binds our file on many places in a file system over one of /proc's directories, and others on as many more.
_MOUNT: Final = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def mount(source, target, kind, flags):
    if libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None):
        raise OSError(ctypes.get_errno(), target)
ours, other, count, of_ours = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
mount("none", "/proc/tty", "tmpfs", 0)
for number in range(count):
    target = "/proc/tty/%d" % number
    open(target, "w").close()
    mount(ours if number < of_ours else other, target, "", 4096)
"""


def test_twenty_thousand_lines(site: Site, make_bound: MakeBound, capsys: pytest.CaptureFixture[str]) -> None:
    """With a mount table of 20,000 lines in one container, all get their files; what is left over is told."""
    evil = make_bound(Limits(memory=50 * MIB))
    neighbours = [make_bound(Limits(memory=(60 + number) * MIB)) for number in range(3)]
    source = str(site.mount_point / "proc/meminfo")
    evil.run(sys.executable, "-ISc", _MOUNT, source, "/etc/hostname", str(_LINES), str(_OURS))
    assert mount_table(evil.init_pid).count("\n") > _LINES
    site.replace()
    done = site.ctl_text("reattach")
    with capsys.disabled():
        print(f"\n{done.stdout.splitlines()[-1]}")  # noqa: T201 - how long it took is worth a look
    for number, each in enumerate(neighbours):
        assert meminfo(each.read("meminfo"))["MemTotal"] == (60 + number) * 1024
    assert meminfo(evil.read("meminfo"))["MemTotal"] == 50 * 1024
    more = _OURS + len(FILES) - MOST_PLACES
    assert f"{more} places more than the {MOST_PLACES} that are examined in a container" in done.stdout
    assert "containers that were not examined whole: 1" in done.stdout
    assert done.returncode == 1
    again = site.ctl("detach")
    assert {("alive", "detached")} == again.actions({each.init_pid for each in neighbours})


def _mount_namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")
    except OSError:
        return ""


def test_many_processes(make_bound: MakeBound, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a namespace with hundreds of processes some are looked at, and its container's init is found."""
    container = make_bound(files=())
    many = container.start("sh", "-c", "for i in $(seq 200); do sleep infinity & done; echo ready; exec cat")
    assert many.stdout is not None
    assert many.stdout.readline() == "ready\n"
    own = os.readlink(f"/proc/{container.init_pid}/ns/mnt")
    hold, held = Processes.hold, list[int]()

    def holding(processes: Processes, pid: int) -> AbstractContextManager[HeldProcess]:
        held.append(pid)
        return hold(processes, pid)

    # As where numbers have come to their end and begun anew: init has the highest.
    ordered = [*(pid for pid in psutil.pids() if pid != container.init_pid), container.init_pid]
    monkeypatch.setattr(psutil, "pids", lambda: ordered)
    monkeypatch.setattr(Processes, "hold", holding)
    found = {namespace.inode: namespace.pid for namespace, _ in each_namespace(Path("/proc"))}
    assert container.init_pid == found[int(own[5:-1])]
    inside = [pid for pid in ordered if _mount_namespace(pid) == own]
    # Some more, to find init, and for what is told of it.
    assert len(inside) > 200
    assert 64 <= sum(pid in inside for pid in held) <= 64 + 3
    container.kill()
    many.communicate()
