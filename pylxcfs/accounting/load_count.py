"""Counts the tasks of one container by their state, in parts: how many there are is up to the container."""

from collections.abc import Sequence
from typing import Final

from pylxcfs.cgroup.membership import parse_membership
from pylxcfs.cgroup.types import CgroupPaths, CgroupReader, ParseError, TaskCounts, TaskGroup, TooLarge
from pylxcfs.containers.processes import PROCESS_GONE, Processes
from pylxcfs.linux.files import WANT_OF_RESOURCES

_RUNNING: Final = "R"
_BLOCKED: Final = "D"
#: What the parts of a count cost. A unit is what it takes to ask one task, some 10 us: to look at a cgroup
#: takes three times as long, to list a hundred tasks once.
_UNITS_OF_A_GROUP: Final = 3
_TASKS_OF_A_UNIT: Final = 100
#: How many of the newest tasks are told: one that has joined from outside has no pid inside.
_NEWEST: Final = 8
#: How many cgroups a count remembers to be frozen or not.
_MOST_MEMBERSHIPS: Final = 256


class LoadCount:
    """One count, from its beginning to its end. Used by one thread at a time.

    Tasks that come and go meanwhile are counted or not. A frozen task is none of the load: the v1 freezer
    shows it as uninterruptible, and v2's leaves a task in the killable sleep that it was in.
    """

    def __init__(self, reader: CgroupReader, processes: Processes, paths: CgroupPaths) -> None:
        """Begin to count the tasks of `paths`; raises what the reader raises."""
        self._reader = reader
        self._processes = processes
        self._walk = reader.walk_tasks(paths)
        self._is_frozen = reader.is_frozen(paths)
        self._frozen: dict[bytes, bool] = {}
        self._to_ask: Sequence[int] = ()
        self._asked = 0
        self._running = self._blocked = self._total = 0
        #: The newest tasks so far, newest first.
        self.newest: Sequence[int] = ()

    @property
    def counts(self) -> TaskCounts:
        """What has been counted so far; safe in every thread."""
        return TaskCounts(self._running, self._blocked, self._total)

    @property
    def is_cut(self) -> bool:
        """Whether cgroups were left out because there are too many."""
        return self._walk.is_cut

    def run(self, units: int, most: int | None = None) -> bool:
        """Go on for so many units; return True once all tasks are counted.

        With `most`, stops before a cgroup that has more tasks or nested cgroups than that. Raises CgroupGone,
        ParseError, and OSError for want of resources.
        """
        while units > 0:
            left = len(self._to_ask) - self._asked
            if left:
                asked = min(left, units)
                self._ask(self._to_ask[self._asked : self._asked + asked])
                self._asked += asked
                units -= asked
                continue
            try:
                group = self._walk.step(most)
            except TooLarge:
                return False
            if group is None:
                return True
            units -= _UNITS_OF_A_GROUP + len(group.ids) // _TASKS_OF_A_UNIT
            self._take(group)
        return False

    def _take(self, group: TaskGroup) -> None:
        """Take what the kernel has counted, or begin to ask."""
        # Pids wrap around, so the highest is not always the newest; the start of each would cost a read.
        self.newest = sorted([*self.newest, *sorted(group.ids, reverse=True)[:_NEWEST]], reverse=True)[
            :_NEWEST
        ]
        if self._is_frozen:
            self._total += len(group.ids)
        elif group.counts is not None:
            self._running += group.counts.running
            self._blocked += group.counts.blocked
            self._total += group.counts.total
        else:
            self._to_ask, self._asked = group.ids, 0

    def _ask(self, tasks: Sequence[int]) -> None:
        """Ask each task for its state; those that have gone are not counted."""
        for task in tasks:
            try:
                state = self._processes.task_state(task)
                self._total += 1
                if state == _RUNNING:
                    self._running += 1
                elif state == _BLOCKED and not self._stands_still(task):
                    self._blocked += 1
            except (*PROCESS_GONE, ParseError):
                continue
            except OSError as error:
                # What is counted without the others would be too little.
                if error.errno in WANT_OF_RESOURCES:
                    raise

    def _stands_still(self, task: int) -> bool:
        """Tell whether a freezer has stopped a task: below the container's cgroup, or wherever it is."""
        with self._processes.hold(task) as process:
            membership = process.read("cgroup")
        frozen = self._frozen.get(membership)
        if frozen is None:
            frozen = self._reader.is_frozen(parse_membership("/proc/PID/cgroup", membership))
            if len(self._frozen) >= _MOST_MEMBERSHIPS:
                self._frozen.clear()
            self._frozen[membership] = frozen
        return frozen
