"""Follows the load of the containers whose loadavg or stat is read (docs/adr/0008-load-averages.md).

A container of ordinary size is counted by the request that asks for it. What is larger is counted beside the
requests, in a thread of its own, in turn with the others; until that is done the last count is shown.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pylxcfs.accounting.load_average import FIXED_1, PERIOD_SECONDS, LoadAverage, LoadView
from pylxcfs.accounting.load_count import LoadCount
from pylxcfs.cgroup.types import CgroupError, CgroupGone, CgroupReader, TaskCounts
from pylxcfs.containers.container import Container, ContainerKey
from pylxcfs.containers.processes import Processes

_log = logging.getLogger(__name__)
#: How often `LoadTracker.work` should be called when it has nothing to do.
STEP_SECONDS: Final = 0.25
#: How much of a container one request counts, and one turn beside them: units of `LoadCount`, of some 10 us.
REQUEST_UNITS: Final = 256
#: The largest list of tasks or nested cgroups that a request looks at.
REQUEST_MOST: Final = 1024
_TURN_UNITS: Final = 64
#: How much CPU time one call of `work` takes, and which share of a CPU all counting takes.
_WORK_SECONDS: Final = 0.002
SHARE: Final = 0.1
#: How many counts that take more than one turn go on at once: each remembers a list of cgroups.
_MOST_LONG: Final = 4
#: How long readers share one count: a container that polls its load must not cost a walk each time.
_COUNT_VALID_SECONDS: Final = 1.0
_TRY_AGAIN_SECONDS: Final = 1.0
_FOLLOW_UNREAD_SECONDS: Final = 15 * 60.0
_USEC_PER_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Shown:
    """What is known of a container: one value, so that another thread sees all of it or nothing."""

    load: LoadAverage
    counts: TaskCounts
    #: The newest tasks, newest first.
    newest: Sequence[int]
    counted_at: float
    #: False: nobody has counted all tasks yet.
    is_whole: bool


@dataclass(slots=True)
class _Followed:
    """One container: the counting thread's while `is_queued`, otherwise the serving thread's."""

    shown: _Shown
    read_at: float
    is_queued: bool = False
    #: Too large to be counted by a request.
    is_large: bool = False
    #: What the counting thread is at.
    count: LoadCount | None = None
    #: When to count again after a failure.
    not_before: float = 0.0
    #: It could not be counted: most likely it has ended.
    is_lost: bool = False
    #: In the container's pid namespace, and of which tasks it was found.
    last_pid: tuple[Sequence[int], int] | None = None


class LoadTracker:
    """Samples every followed container once per period.

    `work` and `run` are the counting thread's, everything else is the serving thread's, unless it says so.
    """

    def __init__(self, reader: CgroupReader, processes: Processes, *, counts_beside: bool = False) -> None:
        """Find tasks through `reader`, and their states through `processes`.

        With `counts_beside` another thread calls `run`, and no request counts more than its part; without,
        each counts all.
        """
        self._reader = reader
        self._processes = processes
        self._counts_beside = counts_beside
        self._followed: dict[Container, _Followed] = {}
        self._restored: dict[ContainerKey, LoadAverage] = {}
        #: Until when requests count nothing anew, so that all of them together keep to their share.
        self._no_request_before = 0.0
        self._queue: deque[Container] = deque()
        self._long: set[Container] = set()
        #: Those that would be one more.
        self._waiting: deque[Container] = deque()
        self._wake = threading.Event()

    @property
    def idle(self) -> bool:
        """Tell whether no container is followed; safe in every thread."""
        return not self._followed

    @property
    def followed(self) -> int:
        """How many containers are followed; safe in every thread."""
        return len(self._followed)

    @property
    def estimated(self) -> int:
        """How many of them show less than all their tasks; safe in every thread."""
        # One step of the interpreter: no thread can change the dictionary in between.
        return sum(not followed.shown.is_whole for followed in [*self._followed.values()])

    def snapshot(self) -> dict[ContainerKey, LoadAverage]:
        """Return all averages, also those restored that nobody has asked for yet; safe in every thread."""
        followed = [*self._followed.items()]
        return {**self._restored.copy(), **{container.key: known.shown.load for container, known in followed}}

    def restore(self, loads: Mapping[ContainerKey, LoadAverage]) -> None:
        """Continue these when their containers are read, unless that is longer away than we follow any."""
        now = time.monotonic()
        self._restored = {
            key: load
            for key, load in loads.items()
            if now - _FOLLOW_UNREAD_SECONDS < load.due <= now + PERIOD_SECONDS
        }

    def read(self, container: Container, uptime_usec: int) -> LoadView:
        """Return the load of a container, and follow it from now on; raises what the reader raises.

        However many tasks and cgroups it has, this takes no longer than to count `REQUEST_UNITS`.
        """
        now = time.monotonic()
        followed = self._followed.get(container)
        if followed is None or followed.is_lost:
            followed = self._begin(container, uptime_usec, now)
            self._followed[container] = followed
            self._wake.set()
        elif not followed.is_queued and self._is_stale(followed.shown, now):
            self._count_again(container, followed, now)
        followed.read_at = now
        # In this order: the counting thread ends with what is shown, then drops the count.
        count = followed.count
        shown = _so_far(followed.shown, count)
        counts = shown.counts
        last_pid = self._last_pid(container, followed, shown.newest)
        return LoadView(shown.load.averages, counts.running, counts.blocked, counts.total, last_pid)

    def prune(self) -> None:
        """Drop what nobody has read for long, and what has ended."""
        now = time.monotonic()
        for container, followed in [*self._followed.items()]:
            if followed.is_lost or now - followed.read_at >= _FOLLOW_UNREAD_SECONDS:
                del self._followed[container]

    def forget(self, container: Container) -> None:
        """Stop following a container."""
        self._followed.pop(container, None)

    def run(self) -> None:
        """Count for as long as the process lives."""
        while True:
            try:
                pause = self.work()
            except Exception:  # noqa: BLE001 - serving must not end for that, nor counting
                _log.exception("counting the load")
                pause = 1.0
            if pause is not None:
                time.sleep(pause)
            else:
                self._wake.wait()
                self._wake.clear()

    def work(self) -> float | None:
        """Count for some milliseconds, each container in turn; return how long to pause, None for ever."""
        began = time.thread_time()
        now = time.monotonic()
        for container, followed in [*self._followed.items()]:
            due = max(followed.shown.load.due, followed.not_before)
            if not followed.is_queued and not followed.is_lost and now >= due:
                followed.is_queued = True
                self._queue.append(container)
        for _ in range(min(len(self._waiting), _MOST_LONG - len(self._long))):
            self._queue.append(self._waiting.popleft())
        while self._queue and time.thread_time() - began < _WORK_SECONDS:
            container = self._queue.popleft()
            queued = self._followed.get(container)
            if queued is None or not queued.is_queued:
                # Forgotten meanwhile, and followed anew perhaps.
                self._long.discard(container)
            else:
                self._take_turn(container, queued)
        if self._queue:
            return (time.thread_time() - began) * (1 / SHARE - 1)
        return STEP_SECONDS if self._followed else None

    def _begin(self, container: Container, uptime_usec: int, now: float) -> _Followed:
        load = self._restored.pop(container.key, None)
        if load is None or now - load.due >= _FOLLOW_UNREAD_SECONDS:
            mean = self._mean_load(container, uptime_usec)
            load = LoadAverage.begin(mean, uptime_usec / _USEC_PER_SECOND, now)
        followed = _Followed(_Shown(load, TaskCounts(0, 0, 0), (), now, is_whole=False), read_at=now)
        self._count_in_request(container, followed, now)
        return followed

    def _is_stale(self, shown: _Shown, now: float) -> bool:
        return now - shown.counted_at >= _COUNT_VALID_SECONDS or now >= shown.load.due

    def _count_again(self, container: Container, followed: _Followed, now: float) -> None:
        if followed.is_large:
            self._hand_over(container, followed, None)
        elif not self._counts_beside or now >= self._no_request_before:
            self._count_in_request(container, followed, now)

    def _count_in_request(self, container: Container, followed: _Followed, now: float) -> None:
        """Count as much as a request may, and leave the rest; raises CgroupError."""
        began = time.thread_time()
        try:
            count = LoadCount(self._reader, self._processes, container.paths)
            if not self._counts_beside:
                while not count.run(REQUEST_UNITS):
                    pass
            elif not count.run(REQUEST_UNITS, REQUEST_MOST):
                followed.is_large = True
                followed.shown = _so_far(followed.shown, count)
                self._hand_over(container, followed, count)
                return
        except OSError:
            # For want of resources. What was known is still the best that we can say.
            return
        finally:
            self._no_request_before = now + (time.thread_time() - began) * (1 / SHARE - 1)
        followed.shown = _advance(followed.shown, count, now)

    def _hand_over(self, container: Container, followed: _Followed, count: LoadCount | None) -> None:
        """Leave the rest of a count to the counting thread."""
        followed.count = count
        followed.is_queued = True
        self._queue.append(container)
        self._wake.set()

    def _take_turn(self, container: Container, followed: _Followed) -> None:
        """Go on with a container's count for one turn."""
        try:
            if followed.count is None:
                followed.count = LoadCount(self._reader, self._processes, container.paths)
            is_done = followed.count.run(_TURN_UNITS)
        except CgroupError:
            # Most likely it has ended. If not, its next reader starts anew.
            followed.is_lost = True
        except OSError:
            # For want of resources.
            followed.not_before = time.monotonic() + _TRY_AGAIN_SECONDS
        else:
            if not is_done:
                self._go_on_later(container, followed)
                return
            followed.shown = _advance(followed.shown, followed.count, time.monotonic())
            followed.is_large = container in self._long
        followed.count = None
        followed.is_queued = False
        self._long.discard(container)

    def _go_on_later(self, container: Container, followed: _Followed) -> None:
        """Queue a count that is not done: at the end, so that all others have their turn first."""
        if container in self._long or len(self._long) < _MOST_LONG:
            self._long.add(container)
            self._queue.append(container)
        else:
            # As many as may remember where they are; it begins anew when one of them is done.
            followed.shown = _so_far(followed.shown, followed.count)
            followed.count = None
            self._waiting.append(container)

    def _last_pid(self, container: Container, followed: _Followed, newest: Sequence[int]) -> int:
        if container.in_host_pid_namespace:
            return newest[0] if newest else 0
        # To ask for a pid costs more than to count: not where no task has come or gone.
        if followed.last_pid is None or followed.last_pid[0] != newest:
            found = self._processes.find_inner_pid(newest, container.init_pid)
            followed.last_pid = (newest, found)
        return followed.last_pid[1]

    def _mean_load(self, container: Container, uptime_usec: int) -> int:
        """Return how many tasks ran on average since the container began, fixed-point.

        A guess at its history: what it used is what it ran; what waited for a CPU or a disk is in no counter.
        """
        try:
            used_usec = self._reader.cpu(container.paths).total_usec
        except CgroupGone:
            raise
        except CgroupError:
            return 0
        return used_usec * FIXED_1 // max(1, uptime_usec)


def _advance(shown: _Shown, count: LoadCount, now: float) -> _Shown:
    """Take what was counted, and fold it in if a sample is due."""
    counts = count.counts
    load = shown.load.advance(counts.running + counts.blocked, now)
    return _Shown(load, counts, count.newest, now, is_whole=not count.is_cut)


def _so_far(shown: _Shown, count: LoadCount | None) -> _Shown:
    """Where all tasks have never been counted, show those that a count under way has found."""
    if shown.is_whole or count is None or count.counts.total <= shown.counts.total:
        return shown
    return replace(shown, counts=count.counts, newest=count.newest)
