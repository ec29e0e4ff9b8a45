"""Every virtual file on every captured machine, byte for byte."""

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Final

import pytest

from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import CpuView, ResourceView

#: What the container sees where there is more to choose from than two CPUs: not the first,
#: the last, both sides of a gap.
VISIBLE: Final = {
    "linux-3.14-arm64": (2, 3, 6),
    "linux-6.1-arm64": (1, 3),
    "linux-6.1-arm64-cpu2-offline": (1, 3),
    "linux-6.1-arm64-linux32": (1, 3),
    "arm32-exynos5": (1,),
    "arm64-android": (2, 7),
    "loongarch-3a5000": (1, 3),
    "mips-mt7621": (1, 2),
    "ppc64-power7": (3, 8),
    "riscv64-visionfive2": (1, 2),
    "s390x-z10-lpar": (1, 5, 8, 19),
    "s390x-z13-drawer": (0, 6),
    "x86-epyc7451": (95,),
}
CAPTURES = Path(__file__).parent / "captures"
CASES = [
    pytest.param(machine.name, row, id=f"{machine.name}/{row.path}")
    for machine in sorted(CAPTURES.iterdir())
    for row in VIRTUAL_FILES
    if (machine / row.path).exists()
]


@pytest.mark.parametrize("machine, row", CASES)
def test_golden(
    machine: str,
    row: VirtualFile,
    container: ResourceView,
    capture: Callable[[str], HostSnapshot],
    golden: Callable[[str, bytes], None],
) -> None:
    """The file on that machine is exactly the golden one."""
    if machine in VISIBLE:
        times = dict(zip(VISIBLE[machine], cycle(container.cpu.times.values()), strict=False))
        container = replace(container, cpu_part=CpuView(times))
    golden(f"{machine}/{row.path}", row.render(container, capture(machine)))
