"""Pressure files and slabinfo: the kernel's words, or the zeros and the header that stand for none."""

from pathlib import Path

import pytest

from pylxcfs.cgroup.reader import CgroupFiles
from pylxcfs.cgroup.types import V2, CgroupGone, CgroupPath, CgroupPaths, ControllerUnavailable, Pressure
from pylxcfs.cgroup.v1 import V1Reader
from pylxcfs.cgroup.v2 import V2Reader
from pylxcfs.procfiles import pressure, slabinfo
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import NOTHING_USED, ResourceView

HEADER = (
    b"slabinfo - version: 2.1\n"
    b"# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
    b" : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n"
)
#: As memcg_slab_show() of Linux 4.19 lays it out.
SLABS = HEADER + (
    b"kmalloc-64            64     64     64   64    1"
    b" : tunables    0    0    0 : slabdata      1      1      0\n"
    b"dentry               462    462    192   21    1"
    b" : tunables    0    0    0 : slabdata     22     22      0\n"
)
SOME = b"some avg10=12.04 avg60=3.45 avg300=0.88 total=81240719\n"
FULL = b"full avg10=1.00 avg60=0.50 avg300=0.10 total=7\n"
NO_SOME = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
NO_FULL = b"full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
OWN = b"some avg10=0.10 avg60=0.20 avg300=0.30 total=4\n"


@pytest.mark.parametrize(
    "expected,host",
    [(NO_SOME, SOME), (NO_SOME + NO_FULL, SOME + FULL), (NO_FULL, FULL)],
    ids=["cpu before 5.13", "usual", "irq"],
)
def test_no_pressure_is_zeros_in_the_lines_of_this_kernel(expected: bytes, host: bytes) -> None:
    """Where the cgroup tells nothing, each of the host's lines is there, and none of its numbers."""
    snapshot = HostSnapshot(pressure_cpu=host, pressure_io=host, pressure_irq=host, pressure_memory=host)
    renderers = (pressure.render_cpu, pressure.render_io, pressure.render_irq, pressure.render_memory)
    assert [expected] * 4 == [render(NOTHING_USED, snapshot) for render in renderers]


def test_pressure_is_the_cgroups_to_the_letter() -> None:
    """What the kernel says of the cgroup is shown as it is."""
    view = ResourceView(0, pressure_part=OWN)
    assert OWN == pressure.render_memory(view, HostSnapshot(pressure_memory=SOME + FULL))


def _files(tmp_path: Path, hierarchy: str, name: str, text: bytes | None) -> tuple[CgroupFiles, CgroupPaths]:
    (tmp_path / "c").mkdir()
    if text is not None:
        (tmp_path / "c" / name).write_bytes(text)
    return CgroupFiles({hierarchy: str(tmp_path)}, 8), CgroupPaths.of({hierarchy: CgroupPath("/c")})


@pytest.mark.parametrize("resource", Pressure)
def test_pressure_of_v2(tmp_path: Path, resource: Pressure) -> None:
    """Each resource has its file in the container's cgroup."""
    files, paths = _files(tmp_path, V2, f"{resource.value}.pressure", OWN)
    assert OWN == V2Reader(files).pressure(paths, resource)


def test_pressure_that_was_turned_off(tmp_path: Path) -> None:
    """Without the file there is no answer, to read or to set a trigger on; nor without the cgroup."""
    files, paths = _files(tmp_path, V2, "cpu.pressure", None)
    gone = CgroupPaths.of({V2: CgroupPath("/gone")})
    for ask in (V2Reader(files).pressure, V2Reader(files).open_pressure):
        with pytest.raises(ControllerUnavailable, match=r"c/cpu\.pressure"):
            ask(paths, Pressure.CPU)
        with pytest.raises(CgroupGone, match=r"gone/cpu\.pressure"):
            ask(gone, Pressure.CPU)


def test_pressure_of_v1(tmp_path: Path) -> None:
    """There is none in v1."""
    files, paths = _files(tmp_path, "memory", "memory.pressure", OWN)
    for ask in (V1Reader(files).pressure, V1Reader(files).open_pressure):
        with pytest.raises(ControllerUnavailable, match="memory pressure of a cgroup v1"):
            ask(paths, Pressure.MEMORY)


@pytest.mark.parametrize(
    "expected,text",
    [(SLABS, SLABS), (HEADER, b""), (HEADER, None)],
    ids=["before 5.9", "since 5.9", "no file"],
)
def test_slabinfo_of_v1(tmp_path: Path, expected: bytes, text: bytes | None) -> None:
    """What the kernel lists is shown to the letter; where it lists nothing, the header alone."""
    files, paths = _files(tmp_path, "memory", "memory.kmem.slabinfo", text)
    view = ResourceView(0, slab_part=V1Reader(files).slabinfo(paths))
    assert expected == slabinfo.render(view, HostSnapshot())


def test_slabinfo_of_v2(tmp_path: Path) -> None:
    """No file of v2 lists kernel objects."""
    files, paths = _files(tmp_path, V2, "memory.stat", b"")
    with pytest.raises(ControllerUnavailable, match="slabinfo"):
        V2Reader(files).slabinfo(paths)
