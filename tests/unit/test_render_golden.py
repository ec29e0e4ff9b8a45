"""Every virtual file on every captured machine, byte for byte."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pylxcfs.host import HostSnapshot
from pylxcfs.procfiles.table import VIRTUAL_FILES, VirtualFile
from pylxcfs.view import ResourceView

CAPTURES = Path(__file__).parent.parent / "captures"
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
    golden(f"{machine}/{row.path}", row.render(container, capture(machine)))
