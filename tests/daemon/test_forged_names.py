"""Names that containers choose, made to look like lines of the kernel's files."""

import sys
from collections.abc import Callable
from typing import Final

import pytest

from tests.support.cgroups import MIB, Cgroup, Limits
from tests.support.container import Container
from tests.support.readings import meminfo

MakeContainer = Callable[..., Container]

#: Names itself, and reads.
_READER: Final = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
print(os.getpid(), open("/proc/loadavg").read())
"""


@pytest.mark.parametrize("end", ["\r", "\f", "\x85"])
def test_cgroup_name(make_cgroup: Callable[..., Cgroup], make_container: MakeContainer, end: str) -> None:
    """A container that calls a cgroup like a line about another container's sees its own memory."""
    victim = make_cgroup(Limits(memory=300 * MIB))
    container = make_container(Limits(memory=100 * MIB))
    outer = make_cgroup(Limits(), parent=container.group, name=f"evil{end}9:memory:")
    evil = make_cgroup(Limits(), parent=outer, name=victim.name)
    text = container.run("cat", "/proc/meminfo", group=evil)
    assert 100 * MIB == meminfo(text)["MemTotal"] * 1024


@pytest.mark.parametrize("name", ["x\rNSpid:\tx", "x\rNSpid:\t9\t9"])
def test_command_name(make_container: MakeContainer, name: str) -> None:
    """A process that calls itself like a line of its status does no harm to its container's files."""
    container = make_container(Limits())
    pid, *_averages, last_pid = container.run(sys.executable, "-ISc", _READER, name).split()
    assert pid == last_pid
