"""diskstats."""

import pytest

from pylxcfs.cgroup.types import DeviceIo, DeviceNumber
from pylxcfs.procfiles import diskstats
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

IO = DeviceIo(rbytes=1535, wbytes=4096, rios=2, wios=3, dbytes=1024, dios=4)


def render(device: tuple[int, int], io: DeviceIo, text: bytes) -> bytes:
    """Render for a container that used one device."""
    return diskstats.render(
        ResourceView(0, io_part={DeviceNumber(*device): io}), HostSnapshot(diskstats=text)
    )


@pytest.mark.parametrize(
    "count, expected",
    [
        (4, b"2 0 2 0"),
        (11, b"2 0 2 0 3 0 8 0 0 0 0"),
        (15, b"2 0 2 0 3 0 8 0 0 0 0 4 0 2 0"),
        (17, b"2 0 2 0 3 0 8 0 0 0 0 4 0 2 0 0 0"),
        (19, b"2 0 2 0 3 0 8 0 0 0 0 4 0 2 0 0 0 0 0"),
    ],
)
def test_columns(count: int, expected: bytes) -> None:
    """There are as many columns as this kernel has."""
    text = b" 259      12 nvme0n1p7" + b" 999" * count + b"\n"
    assert render((259, 12), IO, text) == b" 259      12 nvme0n1p7 " + expected + b"\n"


def test_other_devices_are_absent() -> None:
    """A device that the container did not use is not there, however similar its number."""
    assert render((8, 1), IO, b"   8      11 sda11 1 2 3 4\n  81       1 x 1 2 3 4\n") == b""


def test_device_without_use_is_absent() -> None:
    """A device that is known but has only zeros is not there."""
    assert render((8, 0), DeviceIo(), b"   8       0 sda 1 2 3 4\n") == b""
