"""Requests on /dev/fuse that no kernel sends, and answers that none takes."""

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.config import ViewConfig
from pylxcfs.content.engine import assemble
from pylxcfs.fuse.frames import IN_HEADER, READ_LOCKOWNER, UNANSWERED, Opcode
from pylxcfs.fuse.gate import Gate
from pylxcfs.fuse.operations import ANSWERED, Operations
from pylxcfs.fuse.partial_reads import Passes
from pylxcfs.fuse.tree import Tree
from pylxcfs.fuse.triggers import Triggers
from tests.fuzz.damage import MANY, pieces
from tests.support.session import Session as Run
from tests.unit.kernel import Kernel

_NAMES: Final = (b"proc", b"sys", b"meminfo", b"..", b".", b"a/b", b"\xff" * 300, b"cpu0", b"online")
_ERRNO_END: Final = 512


class _Target(Kernel):
    """A whole file system on this machine, and what can be asked for in it."""

    def __init__(self, directory: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            # A socket that nobody would close.
            patch.setattr("pylxcfs.content.engine._open_cgroup_stats", lambda: None)
            engine = assemble(ViewConfig())
        tree = Tree(engine.files, engine.cpu_tree, triggers=True)

        def build(gate: Gate) -> Operations:
            triggers = Triggers(engine.content, self.loop, gate.wake)
            return Operations(tree, engine.content, Passes(directory / "passes"), gate, triggers)

        super().__init__(build, ANSWERED | {Opcode.POLL})
        paths = ("proc", "proc/meminfo", "proc/pressure/cpu", "sys", "sys/devices/system/cpu")
        entries = [self.find(path) for path in (*paths, "sys/devices/system/cpu/cpu0")]
        self.inodes: Sequence[int] = [0, 1, *(entry.inode for entry in entries), 1 << 63, (1 << 64) - 1]
        self.handles: Sequence[int] = [0, self.open("proc/meminfo"), self.open("proc/stat"), 1 << 63]


@pytest.fixture(scope="module")
def target(machine: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Target]:
    """Return the file system."""
    del machine
    with _Target(tmp_path_factory.mktemp("requests")) as target:
        yield target


def _numbers(target: _Target) -> st.SearchStrategy[bytes]:
    known = [*target.handles, *target.inodes, READ_LOCKOWNER, 4096, os.O_RDWR, (1 << 32) - 1]
    return st.one_of(
        st.sampled_from(known).map(lambda number: struct.pack("=Q", number)),
        st.integers(0, (1 << 64) - 1).map(lambda number: struct.pack("=Q", number)),
        st.integers(0, (1 << 32) - 1).map(lambda number: struct.pack("=I", number)),
    )


def _draw_message(data: st.DataObject, target: _Target) -> bytes:
    body = b"".join(data.draw(st.lists(_numbers(target), max_size=7)))
    for name in data.draw(st.lists(st.sampled_from(_NAMES) | pieces, max_size=2)):
        body += name + data.draw(st.sampled_from((b"\0", b"")))
    opcode = data.draw(st.sampled_from(list(Opcode)) | st.integers(0, (1 << 32) - 1))
    pid = data.draw(st.sampled_from((0, 1, os.getpid(), 1 << 22, (1 << 32) - 1)))
    inode = data.draw(st.sampled_from(target.inodes))
    length = IN_HEADER.size + len(body) + data.draw(st.sampled_from((0, 0, 0, 0, 1, -1)))
    return IN_HEADER.pack(length, opcode, 7, inode, 0, 0, pid, 0) + body


@MANY
@given(data=st.data())
def test_any_request(data: st.DataObject, target: _Target) -> None:
    """Each is answered once, with an errno that FUSE can carry or with a body, and none is a bug of ours."""
    message = _draw_message(data, target)
    target.send(message)
    if int.from_bytes(message[4:8], sys.byteorder) not in UNANSWERED:
        unique, number, body = target.receive()
        assert 7 == unique
        assert 0 <= number < _ERRNO_END
        assert not (number and body)
    assert target.ask(Opcode.STATFS, 1)
    assert 0 == target.gate.counts.failed


@given(messages=st.lists(st.binary(min_size=1, max_size=60), max_size=8))
def test_rubbish(messages: list[bytes], target: _Target) -> None:
    """Whatever comes out of the device, the gate goes on to the next request and answers it."""
    for message in [*messages, IN_HEADER.pack(IN_HEADER.size, Opcode.STATFS, 99, 1, 0, 0, 0, 0)]:
        target.send(message)
    unique = 0
    while unique != 99:
        unique, number, _body = target.receive()
        assert 0 <= number < _ERRNO_END
