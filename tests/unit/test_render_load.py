"""loadavg."""

import pytest

from pylxcfs.accounting.load_average import Averages, LoadView
from pylxcfs.procfiles import loadavg
from pylxcfs.view.host import HostSnapshot
from pylxcfs.view.resources import ResourceView

_HOST = HostSnapshot(loadavg=b"4.20 3.10 2.00 5/999 31337\n")


def render(averages: Averages | None, host: HostSnapshot = _HOST) -> bytes:
    """Render a container with two of its five tasks running."""
    return loadavg.render(ResourceView(0, load_part=LoadView(averages, 2, 1, 5, 77)), host)


@pytest.mark.parametrize(
    "value,shown",
    [(0, b"0.00"), (10, b"0.00"), (11, b"0.01"), (2037, b"0.99"), (2038, b"1.00"), (4096, b"2.00")],
)
def test_rounding(value: int, shown: bytes) -> None:
    """Numbers are cut to hundredths after half of one was added, as the kernel does."""
    assert b"%b %b 0.00 2/5 77\n" % (shown, shown) == render(Averages(value, value, 0))


def test_the_hosts_averages() -> None:
    """Without averages of its own a container has the host's, and still none of the host's pids."""
    assert b"4.20 3.10 2.00 2/5 77\n" == render(None)


def test_a_host_without_loadavg() -> None:
    """A kernel without the file gives zeros."""
    assert b"0.00 0.00 0.00 2/5 77\n" == render(None, HostSnapshot())
