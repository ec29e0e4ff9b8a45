"""Whatever the files in the runtime directory hold, the next process starts, and goes on."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylxcfs.accounting.cpu_ledger import Sample, advance, open_ledger
from pylxcfs.accounting.cpu_ledger_file import LedgerFile
from pylxcfs.accounting.load_average import Averages, LoadAverage
from pylxcfs.accounting.load_file import LoadFile
from pylxcfs.cgroup.types import CgroupPath, CgroupPaths, CpuSet, CpuTime
from pylxcfs.containers.container import ContainerKey
from pylxcfs.fuse.partial_reads import Handle, Passes
from pylxcfs.reattach.detached import Detached, DetachedFile
from pylxcfs.rundir.kept_reads import LostReadError
from pylxcfs.rundir.supervisor_state import Replacement, RunState, StateFile
from tests.fuzz.damage import MANY, damaged, pieces

_KEY: Final = ContainerKey(CgroupPaths.of({"memory": CgroupPath("/a")}), 42, 77)
_STATE: Final = RunState(1, 2.0, "/x", "0:50", 99, 3, False, 1, (Replacement(1.0, "why", 0.1),))  # noqa: FBT003
_SAMPLE: Final = Sample(10_000_000, CpuSet({0, 1}), {0: CpuTime(1, 2), 5: CpuTime(3, 4)})

_json_values: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a runtime directory."""
    return tmp_path_factory.mktemp("run")


def _draw_content(data: st.DataObject, written: bytes) -> bytes:
    """Damage what was written: its bytes, or one value of its JSON."""
    if data.draw(st.booleans()):
        return data.draw(damaged([written]) | st.just(b"[" * 100_000))
    content: dict[str, Any] = json.loads(written)
    at: Any = content
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not (isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans())):
            break
        at = at[key]
    at[key] = data.draw(_json_values)
    return json.dumps(content).encode()


@MANY
@given(data=st.data())
def test_load_averages(data: st.DataObject, directory: Path) -> None:
    """Damaged load averages are none, or such as can go on."""
    file = LoadFile(directory / "load.json", "boot")
    file.save({_KEY: LoadAverage(Averages(1, 2, 3), 1000.0)})
    written = (directory / "load.json").read_bytes()
    (directory / "load.json").write_bytes(_draw_content(data, written))
    for key, load in file.load().items():
        assert isinstance(key, ContainerKey)
        after = load.advance(5, load.due + 100)
        assert all(0 <= average < 1 << 62 for average in after.averages)
        file.save({key: after})


@MANY
@given(data=st.data())
def test_supervisor(data: st.DataObject, directory: Path) -> None:
    """A damaged state is none, or has the types that a supervisor works with."""
    file = StateFile(directory)
    file.write(_STATE)
    written = (directory / "supervisor.json").read_bytes()
    (directory / "supervisor.json").write_bytes(_draw_content(data, written))
    state = file.read()
    if state is not None:
        for value, sample in zip(state, _STATE, strict=True):
            assert isinstance(value, int | float if isinstance(sample, float) else type(sample))
        assert all(isinstance(replacement, Replacement) for replacement in state.replacements)
        assert state.generation + 1 > 0
        file.write(state)


@MANY
@given(data=st.data())
def test_detached_binds(data: st.DataObject, directory: Path) -> None:
    """Damaged words about detached binds are none, or such as can be kept again."""
    file = DetachedFile(directory, "boot")
    file.save([Detached(1, 2, "/proc/meminfo", "proc/meminfo")])
    written = (directory / "binds.json").read_bytes()
    (directory / "binds.json").write_bytes(_draw_content(data, written))
    file.save(file.load())


@given(
    edits=st.lists(st.tuples(st.integers(0, 5000), pieces | st.binary(min_size=8, max_size=8)), max_size=6)
)
def test_ledgers(edits: list[tuple[int, bytes]], directory: Path) -> None:
    """A damaged file of ledgers is dropped, or goes on with what is whole; counters can be kept in it."""
    path = directory / "ledgers"
    path.unlink(missing_ok=True)
    before = LedgerFile(path, "boot", 4)
    ledger = open_ledger(_SAMPLE)
    before.load(_KEY)
    before.save(_KEY, ledger)
    content = bytearray(path.read_bytes())
    for offset, piece in edits:
        content[offset : offset + len(piece)] = piece
    path.write_bytes(content)
    after = LedgerFile(path, "boot", 4)
    found = after.load(_KEY)
    assert found is None or (ledger.times, ledger.hidden) == (found.times, found.hidden)
    for _ in range(3):
        ledger = advance(ledger, _SAMPLE)
        after.save(_KEY, ledger)
    assert edits or found
    after.release(_KEY)
    after.drop_ended(lambda _: False, 99)


def _as_directory(path: Path) -> None:
    path.mkdir()


def _as_link(path: Path) -> None:
    path.symlink_to(path.parent.parent / "victim")


@pytest.mark.parametrize("make", [_as_directory, _as_link, lambda path: path.write_bytes(b"\xff" * 9)])
def test_passes(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Whatever is in the place of a pass is replaced or passed over, and led nowhere by."""
    (tmp_path / "victim").write_bytes(b"secret")
    passes = Passes(tmp_path / "passes")
    (tmp_path / "passes").mkdir()
    for name in (f"{7:016x}", f"{7:016x}.new"):
        make(tmp_path / "passes" / name)
    passes.keep(Handle(7), b"content", None)
    # What could not be kept is told as such.
    with suppress(LostReadError):
        assert passes.take(Handle(7), None) in (b"content", None)
    passes.drop(Handle(7))
    assert (tmp_path / "victim").read_bytes() == b"secret"
