"""What /proc says about one process: its namespaces, cgroups, and the init of its pid namespace."""

import contextlib
import errno
import fcntl
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psutil

from pylxcfs.cgroup.membership import parse_membership
from pylxcfs.cgroup.types import CgroupPaths, ParseError
from pylxcfs.containers.procpid import (
    PF_IO_WORKER,
    is_linux32,
    parse_boottime_offset,
    parse_flags,
    parse_last_cpu,
    parse_parent,
    parse_pids,
    parse_start_ticks,
    parse_state,
)
from pylxcfs.linux.files import WANT_OF_RESOURCES, read_whole

#: _IOR(0xb7, 0x7, pid_t) of <linux/nsfs.h>, since Linux 6.11: our number for a pid of that namespace.
_NS_GET_TGID_FROM_PIDNS: Final = 0x8004B707

#: Whole in any case: some 52 numbers and a command of at most 64 bytes.
_STAT_BYTES: Final = 2048
#: Zombie, and dead (proc_pid_stat(5)).
_ENDED: Final = frozenset("ZXx")
_MAX_THREADS_TRIED: Final = 64
_INIT: Final = 1

#: What the kernel says about a process that has gone.
PROCESS_GONE: Final = (FileNotFoundError, ProcessLookupError)


class Processes:
    """Looks at processes through the daemon's own /proc. Everything raises one of `PROCESS_GONE`."""

    def __init__(self, proc_fd: int) -> None:
        """Look below `proc_fd`."""
        self._proc_fd = proc_fd
        self._time_namespace, self._boottime_offset = self._own_time()

    def namespace(self, pid: int | str, kind: str) -> int:
        """Return the inode number of a namespace (namespaces(7)): equal for processes that share it."""
        return _namespace_number(f"{pid}/ns/{kind}", self._proc_fd)

    @contextmanager
    def hold(self, pid: int) -> Iterator["HeldProcess"]:
        """Hold /proc/PID: what is read below it fails once the process is gone, even if its pid is reused."""
        directory = os.open(str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._proc_fd)
        try:
            yield HeldProcess(directory)
        finally:
            os.close(directory)

    def open_membership(self, task: int) -> int:
        """Open a task's /proc/TID/cgroup; the caller closes it."""
        return os.open(f"{task}/cgroup", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc_fd)

    def is_linux32(self, pid: int) -> bool:
        """Tell whether a task has a 32-bit personality; raises PermissionError where we may not trace it."""
        with self.hold(pid) as process:
            return is_linux32(process.read("personality"))

    def boottime_offset(self, pid: int) -> int:
        """Return how far a process's CLOCK_BOOTTIME is ahead of ours, microseconds; 0 before Linux 5.6.

        One readlink where its time namespace is ours.
        """
        if self._time_namespace is None or self.namespace(pid, "time") == self._time_namespace:
            return 0
        with self.hold(pid) as process:
            offset = process.boottime_offset()
        return 0 if offset is None else offset - self._boottime_offset

    def _own_time(self) -> tuple[int | None, int]:
        """Return our time namespace, and how far its CLOCK_BOOTTIME is ahead of the first one's."""
        try:
            with self.hold(os.getpid()) as process:
                return process.namespace("time"), process.boottime_offset() or 0
        except (OSError, ParseError):
            return None, 0

    def task_state(self, task: int) -> str:
        """Return the letter of a task's (thread's) state (proc_pid_stat(5)); raises ParseError besides."""
        return parse_state(self._task_stat(task))

    def last_cpu(self, task: int) -> int:
        """Return the processor that a task runs on, or last ran on; raises ParseError besides."""
        return parse_last_cpu(self._task_stat(task))

    def is_io_worker(self, task: int) -> bool:
        """Tell whether a task is a thread that the kernel made for io_uring; raises ParseError besides."""
        return bool(parse_flags(self._task_stat(task)) & PF_IO_WORKER)

    def find_inner_pid(self, tasks: Iterable[int], init_pid: int) -> int:
        """Return the first number that one of `tasks` has in the pid namespace of `init_pid`; else 1."""
        try:
            level = len(self._numbers(init_pid))
            for task in tasks:
                with contextlib.suppress(*PROCESS_GONE, ParseError):
                    numbers = self._numbers(task)
                    # A task that joined the cgroup from outside has no number in there.
                    if len(numbers) >= level:
                        return numbers[level - 1]
        except (OSError, ParseError):
            pass
        return _INIT

    def _task_stat(self, task: int) -> bytes:
        # Below task/: /proc/TID/stat adds up the times of all threads of the process.
        fd = os.open(f"{task}/task/{task}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc_fd)
        try:
            return os.read(fd, _STAT_BYTES)
        finally:
            os.close(fd)

    def _numbers(self, task: int) -> Sequence[int]:
        with self.hold(task) as process:
            return process.numbers()

    def find_init(self, member: "HeldProcess") -> int:
        """Return the pid of process 1 of the pid namespace that `member` is in."""
        try:
            return member.ask_for_init()
        except OSError as error:
            # ENOTTY before 6.11; ESRCH is an answer, and what we lack now a scan would need too.
            if error.errno == errno.ESRCH or error.errno in WANT_OF_RESOURCES:
                raise
        return self.scan_for_init(member.namespace("pid"))

    def scan_for_init(self, pid_namespace: int) -> int:
        """Find process 1 of a pid namespace by the NSpid lines (since Linux 4.1) of all processes.

        Those that we may not look at (ptrace(2)) are taken for others.
        """
        for pid in psutil.pids():
            try:
                if self.namespace(pid, "pid") != pid_namespace:
                    continue
                with self.hold(pid) as process:
                    if process.numbers()[-1] == _INIT:
                        return pid
            except (*PROCESS_GONE, PermissionError):
                continue
        raise ProcessLookupError(errno.ESRCH, "this pid namespace has no init")


class HeldProcess:
    """One process, by a descriptor of its directory in /proc."""

    __slots__ = ("_directory",)

    def __init__(self, directory: int) -> None:
        """Look below `directory`, which the caller keeps open."""
        self._directory = directory

    def open(self, name: str, flags: int = 0) -> int:
        """Open one of the process's files; the caller closes it."""
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=self._directory)

    def read(self, name: str, most: int | None = None) -> bytes:
        """Return one of the process's files, or the first `most` bytes of it."""
        fd = self.open(name)
        try:
            return read_whole(fd, most)
        finally:
            os.close(fd)

    def namespace(self, kind: str) -> int:
        """Return the inode number of one of its namespaces."""
        return _namespace_number(f"ns/{kind}", self._directory)

    def membership(self) -> CgroupPaths:
        """Return the cgroups of a thread that lives."""
        with self.living() as thread:
            return parse_membership("/proc/PID/cgroup", thread.read("cgroup"))

    def mount_namespace(self) -> int:
        """Return the inode number of the mount namespace of a thread that lives."""
        with self.living() as thread:
            return thread.namespace("mnt")

    def open_membership(self) -> int:
        """Open the cgroup file of a thread that lives; the caller closes it."""
        with self.living() as thread:
            return thread.open("cgroup")

    @contextmanager
    def living(self) -> Iterator["HeldProcess"]:
        """Give the process, or a thread that lives where its leader has ended before (pthread_exit(3)).

        Such a leader is a zombie: it has no namespaces any more but that of its pid, and v1 says the root for
        its cgroups (proc_cgroup_show() in kernel/cgroup/cgroup.c). Raises ProcessLookupError where no thread
        lives.
        """
        if not self._has_ended():
            yield self
            return
        directory = self._open_living_thread()
        try:
            yield HeldProcess(directory)
        finally:
            os.close(directory)

    def number(self) -> int:
        """Return its own number in our pid namespace, a thread's where it is one."""
        return int(self.read("stat").partition(b" ")[0])

    def parent(self) -> int:
        """Return the pid of its parent, 0 where that is not in our pid namespace."""
        return parse_parent(self.read("stat"))

    def link(self, name: str) -> str:
        """Return where one of its links points, as it sees it."""
        return os.readlink(name, dir_fd=self._directory)

    def start_ticks(self) -> int:
        """Return when it began, in clock ticks since boot."""
        return parse_start_ticks(self.read("stat"))

    def numbers(self) -> Sequence[int]:
        """Return its number in each pid namespace from ours down to its own (since Linux 4.1)."""
        return parse_pids(self.read("status"))

    def boottime_offset(self) -> int | None:
        """Return how far its CLOCK_BOOTTIME is ahead of the first time namespace's, microseconds.

        None between unshare(2) and the next fork: the kernel tells only the offsets that children will have.
        """
        if self.namespace("time") != self.namespace("time_for_children"):
            return None
        return parse_boottime_offset(self.read("timens_offsets"))

    def ask_for_init(self) -> int:
        """Ask the kernel for process 1 of its pid namespace; OSError (ENOTTY) before Linux 6.11."""
        namespace = os.open("ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._directory)
        try:
            return int(fcntl.ioctl(namespace, _NS_GET_TGID_FROM_PIDNS, 1))
        finally:
            os.close(namespace)

    def _has_ended(self) -> bool:
        return parse_state(self.read("stat")) in _ENDED

    def _open_living_thread(self) -> int:
        """Open the directory of a thread; those that end are gone at once, so hardly any has to be tried."""
        tasks = HeldProcess(self.open("task", os.O_DIRECTORY))
        try:
            with os.scandir(tasks._directory) as entries:
                for entry in itertools.islice(entries, _MAX_THREADS_TRIED):
                    with contextlib.suppress(*PROCESS_GONE):
                        # Its number may be given away in between, but only to a thread of the same process
                        # will it be found below here.
                        if parse_state(tasks.read(f"{entry.name}/stat")) not in _ENDED:
                            return tasks.open(entry.name, os.O_DIRECTORY)
        finally:
            os.close(tasks._directory)
        raise ProcessLookupError(errno.ESRCH, "every thread has ended")


def _namespace_number(link: str, directory: int) -> int:
    """Return the number that a link like ``mnt:[4026531841]`` says; stat(2) takes 8 us for it, this 3."""
    return int(os.readlink(link, dir_fd=directory).partition("[")[2][:-1])
