"""What is told at start."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylxcfs.cgroup.detect import Hierarchy
from pylxcfs.config import ViewConfig
from pylxcfs.containers.processes import Processes
from pylxcfs.content.features import describe, kernel_features, options


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Return this machine's processes."""
    descriptor = os.open("/proc", os.O_RDONLY)
    yield Processes(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize(
    "names,files,accounted",
    [
        (("memory",), ["memory.memsw.limit_in_bytes"], True),
        (("memory",), ["memory.limit_in_bytes"], False),
        (("",), ["a/memory.max", "a/memory.swap.max"], True),
        (("",), ["a/cpu.stat", "b/memory.max"], False),
        (("",), ["a/cpu.stat"], None),
        (("cpu", "cpuacct"), [], None),
    ],
)
def test_swap_accounting(
    tmp_path: Path, processes: Processes, names: tuple[str, ...], files: list[str], *, accounted: bool | None
) -> None:
    """Whether swap is counted is told by the files that count it, wherever the controller is enabled."""
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    hierarchies = [Hierarchy(names, str(tmp_path), "/")]
    features = kernel_features(tmp_path, hierarchies, processes, counts_tasks=True)
    assert accounted is features["swap accounting"]
    assert ("cpuacct" in names) is features["time per cpu"]


@pytest.mark.parametrize("there", [True, False])
def test_other_abilities(tmp_path: Path, processes: Processes, *, there: bool) -> None:
    """Pressure is told by its directory; task counts by whether they could be opened."""
    if there:
        (tmp_path / "pressure").mkdir()
    features = kernel_features(tmp_path, [], processes, counts_tasks=there)
    assert (there, there) == (features["pressure"], features["cgroupstats"])


@pytest.mark.parametrize("error", [None, 25])
def test_namespace_ioctl(
    tmp_path: Path, processes: Processes, monkeypatch: pytest.MonkeyPatch, error: int | None
) -> None:
    """A kernel that does not know the question does not have the ability."""

    def answer(*_arguments: object) -> int:
        if error is not None:
            raise OSError(error, os.strerror(error))
        return 1

    monkeypatch.setattr("fcntl.ioctl", answer)
    features = kernel_features(tmp_path, [], processes, counts_tasks=False)
    assert (error is None) is features["namespace ioctl"]


def test_line() -> None:
    """Each feature has its word, and so has what cannot be told."""
    assert "a yes, b no, c unknown" == describe({"a": True, "b": False, "c": None})
    view = ViewConfig(swap=False, memory_high=True)
    assert "cfs yes, loadavg yes, swap no, zswap yes, memory-high yes, compact-cpus no" == describe(
        options(view)
    )
