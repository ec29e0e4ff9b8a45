"""The table: what each file declares is what its renderer uses."""

from pathlib import Path
from typing import Any

import pytest

from pylxcfs.cgroup.types import Controller, Pressure
from pylxcfs.procfiles.binds import CPU_DIRECTORY
from pylxcfs.procfiles.table import VIRTUAL_FILES, Fallback, VirtualFile
from pylxcfs.view.host import PARSED, HostSnapshot
from pylxcfs.view.resources import NOTHING_USED, ResourceView

#: By name below /proc; the snapshot has an underscore for the slash.
HOST_FILES = frozenset(
    {
        *("meminfo", "cpuinfo", "stat", "uptime", "swaps", "diskstats", "loadavg", *PARSED),
        *(f"pressure/{resource.value}" for resource in Pressure),
    }
)
FIELDS = frozenset(name.replace("/", "_") for name in HOST_FILES)
FILES = pytest.mark.parametrize("file", VIRTUAL_FILES, ids=lambda file: file.path)
PROC = Path(__file__).parent / "captures/linux-6.18-x86/proc"


class Poisoned(HostSnapshot):
    """A host of which only the declared files may be read."""

    declared: frozenset[str] = frozenset()

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401 - it stands in for every field
        """Refuse files that the file does not declare."""
        if name in FIELDS and name not in type(self).declared:
            raise AssertionError(name)
        return super().__getattribute__(name)


@FILES
def test_renderer_touches_only_what_its_row_declares(file: VirtualFile, container: ResourceView) -> None:
    """A renderer reads no host file and no part of the container that its file does not declare."""
    files = {
        name.replace("/", "_"): (PROC / name).read_bytes() for name in file.host_files if name not in PARSED
    }
    declared = frozenset(name.replace("/", "_") for name in file.host_files)
    host = type("Allowed", (Poisoned,), {"declared": declared})(**files)
    view = ResourceView(
        container.uptime_usec,
        memory_part=container.memory_part if Controller.MEMORY in file.controllers else None,
        cpu_part=container.cpu_part if file.needs_cpu_times else None,
        cpus_part=container.cpus if {Controller.CPU, Controller.CPUSET} <= file.controllers else None,
        io_part=container.io_part if Controller.IO in file.controllers else None,
        load_part=container.load_part if file.needs_load else None,
        pressure_part=container.pressure_part if Controller.PRESSURE in file.controllers else None,
        slab_part=container.slab_part if Controller.SLAB in file.controllers else None,
    )
    assert file.render(view, host)


@FILES
def test_host_files_are_fields_of_the_snapshot(file: VirtualFile) -> None:
    """Every declared host file is one that the host reader knows."""
    assert set(file.host_files) <= HOST_FILES


@FILES
def test_memory_rows_read_meminfo(file: VirtualFile) -> None:
    """A file with memory declares meminfo, which the host's totals come from."""
    assert Controller.MEMORY not in file.controllers or "meminfo" in file.host_files


@FILES
def test_render_survives_an_empty_host(file: VirtualFile, container: ResourceView) -> None:
    """A host file that this kernel does not have is no error."""
    assert isinstance(file.render(container, HostSnapshot()), bytes)


def test_paths_are_sorted_and_unique() -> None:
    """Every file is listed once, in order."""
    paths = [file.path for file in VIRTUAL_FILES]
    assert paths == sorted(set(paths))


def test_paths_and_host_files_agree() -> None:
    """Host processes get the file that has the same name."""
    below = {"proc": "proc", "pressure": "proc/pressure", "cpu": CPU_DIRECTORY}
    for file in VIRTUAL_FILES:
        place, _, name = file.host_file.rpartition("/")
        assert file.path == f"{below[place or 'proc']}/{name}"


def test_what_tells_of_others_never_falls_back_to_the_host() -> None:
    """Devices, pressure and kernel objects are nobody's rather than the host's."""
    pressure = {f"proc/pressure/{resource.value}" for resource in Pressure}
    empty = {file.path for file in VIRTUAL_FILES if file.fallback is Fallback.EMPTY}
    assert {"proc/diskstats", "proc/slabinfo"} | pressure == empty


@pytest.mark.parametrize(
    "file", [r for r in VIRTUAL_FILES if r.fallback is Fallback.EMPTY], ids=lambda r: r.path
)
def test_the_empty_fallback_can_be_rendered(file: VirtualFile) -> None:
    """Such a file needs nothing of a container to say that it uses nothing."""
    assert isinstance(file.render(NOTHING_USED, HostSnapshot()), bytes)
