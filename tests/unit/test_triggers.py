"""PSI triggers: who may set which, how many, and how their events reach who polls."""

import errno
import os
import select
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from pylxcfs.cgroup.types import CgroupPaths, ControllerUnavailable, Pressure
from pylxcfs.containers.container import Container
from pylxcfs.content.service import ContentService
from pylxcfs.fuse.gate import Sleeper
from pylxcfs.fuse.partial_reads import Handle
from pylxcfs.fuse.triggers import NO_EVENTS, TriggerError, Triggers, parse_trigger

TRIGGER = b"some 200000 2000000"
FIRED = NO_EVENTS | select.POLLPRI
NO_TRIGGER = FIRED | select.POLLERR


class _Sleeper:
    """Polls a file."""

    def notify(self) -> None:
        """Only the test's kernel is told."""


SLEEPER = _Sleeper()


def container() -> Container:
    """Return a container that is equal to no other."""
    return Container(CgroupPaths(()), 1, 0, in_host_pid_namespace=False)


class _Kernel:
    """The pressure files, a poller that the test rings, and the kernel's side of polling."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.absent = False
        self.watched: dict[int, Callable[[int], None]] = {}
        self.notified: list[Sleeper] = []

    def open_pressure(self, resource: Pressure, container: Container) -> int:
        if self.absent:
            raise ControllerUnavailable(resource.value)
        path = self.directory / f"{container.init_pid}.{resource.value}"
        return os.open(path, os.O_RDWR | os.O_CREAT)

    def watch(self, fd: int, call: Callable[[int], None]) -> None:
        self.watched[fd] = call

    def unwatch(self, fd: int) -> None:
        os.fstat(fd)
        del self.watched[fd]

    def wake(self, sleeper: Sleeper) -> None:
        self.notified.append(sleeper)

    def ring(self, events: int = select.POLLPRI) -> None:
        """Let the only trigger have an event."""
        (call,) = self.watched.values()
        call(events)


@pytest.fixture
def kernel(tmp_path: Path) -> _Kernel:
    """Return the kernel that is told of triggers."""
    return _Kernel(tmp_path)


@pytest.fixture
def triggers(kernel: _Kernel) -> Triggers:
    """Return triggers without any."""
    return Triggers(cast("ContentService", kernel), kernel, kernel.wake)


def _refusal(call: Callable[[], object]) -> int:
    with pytest.raises(TriggerError) as refused:
        call()
    return refused.value.number


@pytest.mark.parametrize(
    "expected,text",
    [
        (TRIGGER, TRIGGER),
        (TRIGGER, TRIGGER + b"\n"),
        (TRIGGER, TRIGGER + b"\0"),
        (TRIGGER, TRIGGER + b"\0rubbish"),
        (b"full 1 10000000", b" full\t01 10000000 "),
        (b"some 2000000 2000000", b"some 2000000 2000000"),
    ],
)
def test_triggers_that_are_passed_on(expected: bytes, text: bytes) -> None:
    """A trigger may end with a newline or a zero, as the kernel's example writes it."""
    assert expected == parse_trigger(text)


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"some", b"some 1", b"none 1 2000000", b"some 1 2000000 3", b"some -1 2000000", b"x" * 4096),
        *(b"some 0 2000000", b"some 2000001 2000000", b"some 1 0", b"some 1 12000000"),
        *(b"some 150000 1000000", b"some 1 3000000", b"some 1 4296967296", b"some 1 2000000;full 1 2000000"),
    ],
)
def test_triggers_that_are_refused(text: bytes) -> None:
    """Whatever the kernel refuses from users without privileges is EINVAL: windows are 2, 4, 6, 8 or 10 s."""
    assert errno.EINVAL == _refusal(lambda: parse_trigger(text))


def test_set_on_the_containers_file(triggers: Triggers, kernel: _Kernel) -> None:
    """The trigger is written to the pressure file of the container that opened ours, and watched."""
    triggers.set(Handle(1), Pressure.MEMORY, container(), TRIGGER + b"\n")
    assert TRIGGER == (kernel.directory / "1.memory").read_bytes()
    assert 1 == len(kernel.watched)


def test_one_event_is_told_once(triggers: Triggers, kernel: _Kernel) -> None:
    """Who waits is woken once, finds the event, and then no more."""
    triggers.set(Handle(1), Pressure.CPU, container(), TRIGGER)
    assert NO_EVENTS == triggers.poll(Handle(1), SLEEPER)
    kernel.ring()
    kernel.ring()
    assert [SLEEPER] == kernel.notified
    assert [FIRED, NO_EVENTS] == [triggers.poll(Handle(1), None) for _ in range(2)]
    kernel.ring()
    assert [SLEEPER] == kernel.notified
    assert FIRED == triggers.poll(Handle(1), SLEEPER)


def test_without_a_trigger_poll_is_an_error(triggers: Triggers) -> None:
    """A pressure file that nobody has written to answers as the kernel's does."""
    assert NO_TRIGGER == triggers.poll(Handle(1), SLEEPER)


def test_the_end_of_the_cgroup(triggers: Triggers, kernel: _Kernel) -> None:
    """Who waits is told that the trigger is gone, and its descriptor is closed at once."""
    triggers.set(Handle(1), Pressure.CPU, container(), TRIGGER)
    (fd,) = kernel.watched
    triggers.poll(Handle(1), SLEEPER)
    kernel.ring(select.POLLERR | select.POLLPRI)
    assert [SLEEPER] == kernel.notified
    assert [NO_TRIGGER] * 2 == [triggers.poll(Handle(1), SLEEPER) for _ in range(2)]
    assert {} == kernel.watched
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    triggers.remove(Handle(1))


def test_closing_the_file_removes_the_trigger(triggers: Triggers, kernel: _Kernel) -> None:
    """Nothing is watched, and no descriptor left, once the file is closed; files without one do not mind."""
    triggers.set(Handle(1), Pressure.CPU, container(), TRIGGER)
    (fd,) = kernel.watched
    triggers.remove(Handle(2))
    triggers.remove(Handle(1))
    assert {} == kernel.watched
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_one_trigger_per_open_file(triggers: Triggers) -> None:
    """A second trigger on the same open file is EBUSY, as in the kernel."""
    triggers.set(Handle(1), Pressure.CPU, container(), TRIGGER)
    assert errno.EBUSY == _refusal(lambda: triggers.set(Handle(1), Pressure.CPU, container(), TRIGGER))


def test_nobody_sets_a_trigger_on_the_host(triggers: Triggers, kernel: _Kernel) -> None:
    """Neither a reader that is no container's nor a container without pressure of its own."""
    assert errno.EOPNOTSUPP == _refusal(lambda: triggers.set(Handle(1), Pressure.CPU, None, TRIGGER))
    kernel.absent = True
    assert errno.EOPNOTSUPP == _refusal(lambda: triggers.set(Handle(1), Pressure.CPU, container(), TRIGGER))


def test_what_the_kernel_refuses(
    triggers: Triggers, kernel: _Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's errno is passed on, and no descriptor left."""
    (tmp_path / "file").touch()
    opened: list[int] = []

    def open_read_only(_resource: Pressure, _container: Container) -> int:
        opened.append(os.open(tmp_path / "file", os.O_RDONLY))
        return opened[-1]

    monkeypatch.setattr(kernel, "open_pressure", open_read_only)
    assert errno.EBADF == _refusal(lambda: triggers.set(Handle(1), Pressure.CPU, container(), TRIGGER))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(opened[0])
    assert NO_TRIGGER == triggers.poll(Handle(1), None)


def _set_until_refused(triggers: Triggers, first: int, whose: Container) -> int:
    """Set triggers on open files from number `first` on; return the first that is refused."""
    for number in range(first, first + 2000):
        try:
            triggers.set(Handle(number), Pressure.CPU, whose, TRIGGER)
        except TriggerError as error:
            assert errno.ENOSPC == error.number  # noqa: PT017 - it comes after many that succeed
            return number
    raise AssertionError("there is no limit")


def test_a_container_cannot_take_all(triggers: Triggers, kernel: _Kernel) -> None:
    """A container has 32 triggers at most, others have theirs all the same, and closing one makes room."""
    greedy = container()
    assert 33 == _set_until_refused(triggers, 1, greedy)
    triggers.set(Handle(100), Pressure.CPU, container(), TRIGGER)
    triggers.remove(Handle(7))
    triggers.set(Handle(7), Pressure.CPU, greedy, TRIGGER)
    assert errno.ENOSPC == _refusal(lambda: triggers.set(Handle(33), Pressure.CPU, greedy, TRIGGER))
    assert 33 == len(kernel.watched)
    for number in range(101):
        triggers.remove(Handle(number))
    assert {} == kernel.watched
    assert not triggers._per_container


def test_all_containers_together(
    triggers: Triggers, kernel: _Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many containers there are, there are at most as many triggers as descriptors are set aside."""
    monkeypatch.setattr("pylxcfs.fuse.triggers._MAX_TRIGGERS", 40)
    assert 41 == _set_until_refused(triggers, _set_until_refused(triggers, 1, container()), container())
    for number in range(41):
        triggers.remove(Handle(number))
    assert {} == kernel.watched


def test_no_events() -> None:
    """A file without a trigger is as ready as any: DEFAULT_POLLMASK of the kernel (linux/poll.h)."""
    assert 0x145 == NO_EVENTS
