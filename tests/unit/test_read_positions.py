"""Where readers stand that leave that to the kernel."""

from pylxcfs.fuse.partial_reads import Handle
from pylxcfs.fuse.read_positions import ReadPositions

FILE = Handle(7)
WORKER, PROCESS = 1, 2


class Machine:
    """One thread works for io_uring; the clock stands still until the test moves it."""

    def __init__(self) -> None:
        """Begin."""
        self.seconds = 0.0
        self.positions = ReadPositions(lambda: self.seconds)

    def read(self, asked: int, length: int, pid: int = WORKER) -> int:
        """Read; return where."""
        place = self.positions.place(FILE, asked, pid, lambda pid: pid == WORKER)
        self.positions.note(FILE, asked, place, length)
        return place


def test_io_uring_goes_on() -> None:
    """To the end, and then it begins anew."""
    machine = Machine()
    assert [0, 10, 20, 0] == [machine.read(0, length) for length in (10, 10, 0, 10)]


def test_others_begin_anew() -> None:
    """Processes, who comes later, and who says where to read."""
    machine = Machine()
    assert [0, 0] == [machine.read(0, 10, PROCESS), machine.read(0, 10, PROCESS)]
    machine.seconds = 1.1
    assert [0, 10] == [machine.read(0, 10), machine.read(0, 10)]
    assert [5, 0] == [machine.read(5, 10), machine.read(0, 10)]
    machine.positions.closed(FILE)
    assert 0 == machine.read(0, 10)
    machine.positions.closed(FILE)
    assert {} == machine.positions._places
