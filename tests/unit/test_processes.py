"""Real processes: what is held of them, and for how long."""

import errno
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylxcfs.containers.askers import Askers
from pylxcfs.containers.inits import Inits
from pylxcfs.containers.processes import PROCESS_GONE, HeldProcess, Processes
from tests.support.namespaces import answering, as_init, entering
from tests.support.waiting import wait_for


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Look at this machine's."""
    proc_fd = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    yield Processes(proc_fd)
    os.close(proc_fd)


@pytest.fixture
def child() -> "Iterator[subprocess.Popen[bytes]]":
    """Run a process that does nothing."""
    with subprocess.Popen(["sleep", "infinity"]) as process:
        yield process
        process.kill()


def _open_files() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def _leader_has_ended(pid: int) -> bool:
    return b") Z " in Path(f"/proc/{pid}/stat").read_bytes()


def test_living_thread(processes: Processes) -> None:
    """Of a process whose main thread has ended, another thread is asked."""
    before = _open_files()
    with answering([], leaderless=True) as process:
        wait_for("its leader ends", lambda: _leader_has_ended(process.pid))
        with processes.hold(process.pid) as held:
            with pytest.raises(FileNotFoundError):
                held.namespace("mnt")
            assert held.mount_namespace() == processes.namespace("self", "mnt")
            with processes.hold(os.getpid()) as own:
                assert own.membership() == held.membership()
            assert held.start_ticks() > 0
        with processes.hold(process.pid) as held:
            process.end()
            with pytest.raises(PROCESS_GONE):
                held.membership()
    assert before == _open_files()


def test_no_living_thread(processes: Processes, child: "subprocess.Popen[bytes]") -> None:
    """A process that has ended and was not waited for has nothing to say."""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    before = _open_files()
    with processes.hold(child.pid) as held:
        for ask in (held.membership, held.mount_namespace, held.open_membership):
            with pytest.raises(ProcessLookupError):
                ask()
    assert before == _open_files()


@pytest.mark.parametrize("leaderless", [False, True])
def test_init(processes: Processes, *, leaderless: bool) -> None:
    """A namespace's init is held until all of its threads have ended, and nothing of it after that."""
    inits, before = Inits(processes), _open_files()
    with as_init([], leaderless=leaderless) as process:
        number = processes.namespace(process.pid, "pid")
        assert inits.get(number) is None
        init = inits.find(process.pid, number)
        assert (process.pid, number) == (init.pid, init.pid_namespace)
        with processes.hold(process.pid) as held:
            assert held.start_ticks() == init.start_ticks
        if leaderless:
            wait_for("its leader ends", lambda: _leader_has_ended(process.pid))
        assert (init, []) == (inits.get(number), inits.ended())
        own = Path("/proc/self/cgroup").read_bytes()
        assert own == inits.membership(init)
        init.membership = own
        assert own == inits.membership(init)
        process.end()
        wait_for("it ends", lambda: inits.ended() == [init])
        with pytest.raises(PROCESS_GONE):
            inits.membership(init)
    inits.drop(init)
    inits.drop(init)
    assert (None, []) == (inits.get(number), inits.ended())
    assert before == _open_files()


def test_another_namespace_than_was_asked_for(processes: Processes) -> None:
    """The init of another namespace is not what was asked for; nothing stays open."""
    inits, before = Inits(processes), _open_files()
    with as_init([]) as process, pytest.raises(ProcessLookupError):
        inits.find(process.pid, processes.namespace("self", "pid"))
    assert before == _open_files()


def test_scan_for_init(processes: Processes) -> None:
    """Before Linux 6.11 a namespace's init is found among all processes, whoever else is in it."""
    before = _open_files()
    with as_init([]) as process:
        number = processes.namespace(process.pid, "pid")
        with entering(process.pid, []) as member:
            assert number == processes.namespace(member.pid, "pid")
            assert process.pid == processes.scan_for_init(number)
            member.end()
        process.end()
    with pytest.raises(ProcessLookupError):
        processes.scan_for_init(number)
    assert before == _open_files()


@pytest.mark.parametrize(
    "number,is_an_answer",
    [(errno.ENOTTY, False), (errno.EINVAL, False), (errno.ESRCH, True), (errno.EMFILE, True)],
)
def test_a_kernel_that_does_not_name_the_init(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, number: int, *, is_an_answer: bool
) -> None:
    """Then it is looked for; not where there is none, nor where descriptors are wanted for that too."""

    def refuse(_process: HeldProcess) -> int:
        raise OSError(number, os.strerror(number))

    with as_init([]) as process, processes.hold(process.pid) as held:
        monkeypatch.setattr(HeldProcess, "ask_for_init", refuse)
        if is_an_answer:
            with pytest.raises(OSError, match=re.escape(os.strerror(number))):
                processes.find_init(held)
        else:
            assert process.pid == processes.find_init(held)


class _Renumbered(Processes):
    """Has numbers of its own for processes."""

    def __init__(self, proc_fd: int, numbers: dict[int, int]) -> None:
        super().__init__(proc_fd)
        self.numbers = numbers
        self.opened: list[int] = []

    def open_membership(self, task: int) -> int:
        self.opened.append(task)
        return super().open_membership(self.numbers[task])

    def namespace(self, pid: int | str, kind: str) -> int:
        return super().namespace(self.numbers[int(pid)], kind)


@pytest.fixture
def renumbered() -> Iterator[_Renumbered]:
    """Call this process 1 to 9."""
    proc_fd = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    yield _Renumbered(proc_fd, dict.fromkeys(range(1, 10), os.getpid()))
    os.close(proc_fd)


def test_number_that_goes_to_another(renumbered: _Renumbered) -> None:
    """A task with the number of one that has ended is looked at anew, in its own namespace."""
    askers = Askers(renumbered)
    with as_init([]) as process:
        renumbered.numbers[1] = process.pid
        inner, membership = askers.look(1)
        assert (inner, membership) == askers.look(1)
        process.end()
    renumbered.numbers[1] = os.getpid()
    outer, membership = askers.look(1)
    assert inner != outer == renumbered.namespace(1, "pid")
    assert Path("/proc/self/cgroup").read_bytes() == membership
    del renumbered.numbers[1]
    askers.close_all()
    with pytest.raises(KeyError):
        askers.look(1)


def test_askers_are_held_for_a_while(renumbered: _Renumbered) -> None:
    """Who asks between two prunings is opened once; who does not is closed at the second."""
    askers, before = Askers(renumbered), _open_files()
    for _ in range(5):
        askers.look(1)
        askers.prune()
        askers.look(1)
    assert [1] == renumbered.opened
    askers.prune()
    assert len(before) + 1 == len(_open_files())
    askers.prune()
    assert before == _open_files()
    askers.look(1)
    askers.look(2)
    assert [1, 1, 2] == renumbered.opened
    askers.close_all()
    assert before == _open_files()


def test_askers_are_bounded(renumbered: _Renumbered, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask, only so many are held."""
    monkeypatch.setattr("pylxcfs.containers.askers.MAX_HELD", 3)
    askers, before = Askers(renumbered), _open_files()
    for task in (1, 2, 3, 4, 5, 1, 6, 7, 8, 2, 9):
        askers.look(task)
        assert len(_open_files()) <= len(before) + 3
    askers.look(9)
    assert 1 == renumbered.opened.count(9)
    askers.close_all()


def test_nothing_stays_open_for_one_that_has_gone(processes: Processes) -> None:
    """A task that is not there is an error."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    before = _open_files()
    with pytest.raises(PROCESS_GONE):
        Askers(processes).look(ended.pid)
    assert before == _open_files()
