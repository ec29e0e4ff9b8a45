"""Tasks asked one by one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pylxcfs.cgroup.types import ParseError
from pylxcfs.containers.processes import Processes
from pylxcfs.containers.procpid import (
    parse_flags,
    parse_last_cpu,
    parse_parent,
    parse_pids,
    parse_start_ticks,
)
from pylxcfs.view.host import HostReader


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    """Return four tasks of a container in a nested pid namespace, and one that joined from outside."""
    proc = tmp_path / "proc"
    (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
    (tmp_path / "sys/devices/system/cpu/online").write_text("0\n")
    tasks = {
        100: ("R", "init", "100\t1"),
        101: ("D", "a) S (b", "101\t7"),
        102: ("S", "R", "102\t8\t1"),
        103: ("I", ") R", "103\t9"),
        200: ("R", "outside", "200"),
    }
    for task, (state, name, numbers) in tasks.items():
        (proc / f"{task}/task/{task}").mkdir(parents=True)
        (proc / f"{task}/task/{task}/stat").write_text(f"{task} ({name}) {state} 1 2 3\n")
        (proc / f"{task}/status").write_text(f"Name:\tx\nNSpid:\t{numbers}\n")
    return Processes(HostReader(proc, tmp_path / "sys").proc_fd)


def test_states(processes: Processes) -> None:
    """The state is told, whatever the command is called; of one that has gone there is none."""
    assert [*"RDSIR"] == [processes.task_state(task) for task in (100, 101, 102, 103, 200)]
    with pytest.raises(FileNotFoundError):
        processes.task_state(999)


@pytest.mark.parametrize(
    "tasks,expected", [([200, 103], 9), ([102], 8), ([999, 101], 7), ([200], 1), ([], 1)]
)
def test_inner_pid(processes: Processes, tasks: list[int], expected: int) -> None:
    """The number is that in the container's own namespace, never the host's."""
    assert expected == processes.find_inner_pid(tasks, 100)


def test_inner_pid_without_init(processes: Processes) -> None:
    """When init has just gone, no number of the host is shown."""
    assert 1 == processes.find_inner_pid([103], 999)


@pytest.mark.parametrize("name", ["x\rNSpid:\t1\t1", "x\rNSpid:\tx", "x\fNSpid:"])
def test_inner_pid_of_one_that_forges_it(processes: Processes, tmp_path: Path, name: str) -> None:
    """A task that calls itself like a line of its status has the number that the kernel gave it."""
    (tmp_path / "proc/103/status").write_text(f"Name:\t{name}\nNSpid:\t103\t9\n", newline="")
    assert 9 == processes.find_inner_pid([103], 100)


@pytest.mark.parametrize("status", ["", "NSpid:\n", "NSpid:\tx\n", "NSpid:\t103\t-9\n"])
def test_inner_pid_of_one_that_cannot_be_told(processes: Processes, tmp_path: Path, status: str) -> None:
    """A status without the line, or with a damaged one, is passed over."""
    (tmp_path / "proc/103/status").write_text(status)
    assert 7 == processes.find_inner_pid([103, 101], 100)


@pytest.mark.parametrize("stat", ["", "103 (x) ", "103 (x"])
def test_damaged_state(processes: Processes, tmp_path: Path, stat: str) -> None:
    """A state that cannot be read is told as such."""
    (tmp_path / "proc/103/task/103/stat").write_text(stat)
    with pytest.raises(ParseError):
        processes.task_state(103)


@pytest.mark.parametrize(
    "parse,field",
    [(parse_parent, 4), (parse_flags, 9), (parse_start_ticks, 22), (parse_last_cpu, 39)],
    ids=["parent", "flags", "start", "processor"],
)
def test_fields_of_stat(parse: Callable[[bytes], int], field: int) -> None:
    """Each is the field of its number in proc_pid_stat(5), whatever the command is called."""
    fields = " ".join(str(number) for number in range(4, 53)).encode()
    for command in (b"x", b"", b"a) S 1 (b", b")", b") R 9 9"):
        assert field == parse(b"7 (" + command + b") S " + fields + b"\n")
    for damaged in (b"7", b"", b"7 (x) S", b"7 (x) S x" + b" y" * 50):
        with pytest.raises(ParseError):
            parse(damaged)


@pytest.mark.parametrize("numbers", [[1], [1, 1], [4194304], [4194304, 2], [9, 4, 1]])
def test_numbers_that_a_task_can_have(numbers: list[int]) -> None:
    """From 1 to the kernel's PID_MAX_LIMIT, one for each pid namespace."""
    line = "\t".join(map(str, numbers))
    assert numbers == parse_pids(f"Name:\tx\nNSpid:\t{line}\nNSpgid:\t7\n".encode())


@pytest.mark.parametrize("numbers", ["0", "1\t0", "4194305", "5\t4194305", "4194305\t5"])
def test_numbers_that_no_task_has(numbers: str) -> None:
    """These are no pids."""
    with pytest.raises(ParseError):
        parse_pids(f"NSpid:\t{numbers}\n".encode())
