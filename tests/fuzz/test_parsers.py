"""Every parser gives a value or its own error, whatever it is given."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.cgroup import parse
from pylxcfs.cgroup.detect import find_hierarchies
from pylxcfs.cgroup.membership import container_paths, find_strange, own_paths, parse_membership
from pylxcfs.cgroup.mountroot import MountRoot
from pylxcfs.cgroup.types import CpuSet, ParseError
from pylxcfs.containers.procpid import is_linux32, parse_last_cpu, parse_pids, parse_start_ticks, parse_state
from pylxcfs.fuse.mounting import topmost
from pylxcfs.fuse.triggers import TriggerError, parse_trigger
from pylxcfs.linux.mountinfo import parse_mountinfo
from pylxcfs.reattach.survey import find_binds
from tests.fuzz.damage import CAPTURES, MANY, damaged

_MEMORY_STAT: Final = (CAPTURES / "linux-6.12-x86/cgroup-v2/memory.stat").read_bytes()
_MEMBERSHIP: Final = (
    b"12:cpu,cpuacct:/docker/a:b\n3:memory:/gone (deleted)\n1:name=systemd:/x/init.scope\n0::/../y\n"
)
_STATUS: Final = Path("/proc/self/status").read_bytes()
_STAT: Final = Path("/proc/self/stat").read_bytes()
_MOUNTINFO: Final = Path("/proc/self/mountinfo").read_bytes()[-2000:] + (
    b"36 35 98:0 /a\\040b /mnt2 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n"
    b"40 36 0:30 /.. /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
    b"41 36 0:31 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
)


class Parser(NamedTuple):
    """What is called, with what it may refuse, and texts that it takes."""

    call: Callable[[bytes], object]
    error: type[Exception] | tuple[()]
    seeds: Sequence[bytes]


def _is_root(_hierarchy: str, path: str) -> bool:
    return path == "/"


def _membership(text: bytes) -> None:
    paths = parse_membership("f", text)
    own_paths(paths)
    container_paths(paths, paths, _is_root)
    assert frozenset() == find_strange(paths, paths, [name for name, _ in paths], _is_root)
    for _, path in paths:
        located = MountRoot("/docker").locate(path)
        assert located is None or ".." not in located.split("/")


def _mountinfo(text: bytes) -> None:
    mounts = parse_mountinfo(text)
    assert len(mounts) <= text.count(b"\n") + 1
    find_hierarchies(mounts)
    find_binds(text, mark=b" ", is_wanted=lambda mount: mount.fs_type != "ext4")
    for mount in mounts:
        topmost(mounts, mount.mount_point)


def _cpu_list(text: bytes) -> None:
    cpus = parse.parse_cpu_list("f", text)
    assert cpus == parse.parse_cpu_list("f", parse.format_cpu_list(CpuSet(cpus)))


def _counts(text: bytes) -> None:
    devices = [*parse.parse_device_operations("f", text).values()]
    assert all(0 <= count < 1 << 64 for device in devices for count in device.values())


def _io(text: bytes) -> None:
    for device in parse.parse_io_stat("f", text).values():
        assert all(0 <= getattr(device, name) < 1 << 64 for name in device.__slots__)


PARSERS: Final[Mapping[str, Parser]] = {
    "number": Parser(lambda text: parse.parse_int("f", text), ParseError, (b"123\n", b"-1\n")),
    "limit": Parser(lambda text: parse.parse_limit("f", text), ParseError, (b"max\n", b"4096\n")),
    "cpu.max": Parser(
        lambda text: parse.parse_cpu_max("f", text), ParseError, (b"max 100000\n", b"150000 100000\n")
    ),
    "memory.stat": Parser(lambda text: parse.parse_flat_keyed("f", text), ParseError, (_MEMORY_STAT,)),
    "cpu list": Parser(_cpu_list, ParseError, (b"0-3,8\n", b"\n")),
    "blkio": Parser(_counts, ParseError, (b"254:0 Read 8192\n254:0 Write 512\nTotal 8704\n",)),
    "io.stat": Parser(
        _io, ParseError, (b"254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7\n7:0 8:0 \n",)
    ),
    "membership": Parser(_membership, ParseError, (_MEMBERSHIP, Path("/proc/self/cgroup").read_bytes())),
    "mountinfo": Parser(_mountinfo, (), (_MOUNTINFO,)),
    "start time": Parser(parse_start_ticks, ParseError, (_STAT,)),
    "state": Parser(parse_state, ParseError, (_STAT,)),
    "processor": Parser(parse_last_cpu, ParseError, (_STAT,)),
    "numbers": Parser(parse_pids, ParseError, (_STATUS, b"Name:\tx\nNSpid:\t7\t1\n")),
    "personality": Parser(is_linux32, ParseError, (b"00000008\n",)),
    "trigger": Parser(parse_trigger, TriggerError, (b"some 200000 2000000", b"full 1 10000000\0")),
}


@pytest.mark.parametrize("name", sorted(PARSERS))
@MANY
@given(data=st.data())
def test_parser(data: st.DataObject, name: str) -> None:
    """A parser returns, or raises the error that it documents."""
    parser = PARSERS[name]
    text = data.draw(damaged(parser.seeds))
    with contextlib.suppress(*([parser.error] if parser.error else [])):
        parser.call(text)
