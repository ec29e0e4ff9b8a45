"""Follows the load of the containers whose loadavg or stat is read (docs/adr/0008-load-averages.md)."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pylxcfs.accounting.load_average import FIXED_1, PERIOD_SECONDS, LoadAverage, LoadView
from pylxcfs.cgroup.types import CgroupError, CgroupGone, CgroupReader, TaskCounts
from pylxcfs.containers.container import Container, ContainerKey
from pylxcfs.containers.processes import Processes

#: How often `LoadTracker.step` should be called, and how long one call may keep readers waiting. More
#: containers than fit are sampled late, and make up for it: the share of a CPU is bounded, not the number.
STEP_SECONDS: Final = 0.25
_STEP_BUDGET_SECONDS: Final = 0.002
#: How long readers share one count: a container that polls its load must not cost a walk each time.
_COUNT_VALID_SECONDS: Final = 1.0
_FOLLOW_UNREAD_SECONDS: Final = 15 * 60.0
#: How many of the newest tasks are asked for their pid in the container: others may have joined from outside.
_ASK_FOR_PID: Final = 8
_USEC_PER_SECOND: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class _Followed:
    """One container: its averages, what was counted last, and since when nobody has asked."""

    load: LoadAverage
    counts: TaskCounts
    #: The newest tasks, newest first.
    newest: Sequence[int]
    counted_at: float
    read_at: float
    #: None until a reader needs it.
    last_pid: int | None = None


class LoadTracker:
    """Samples every followed container once per period. Owned by the serving thread."""

    def __init__(self, reader: CgroupReader, processes: Processes) -> None:
        """Find tasks through `reader`, and their states through `processes`."""
        self._reader = reader
        self._processes = processes
        # In the order of the last sample, so that a step that ends early goes on with the others next time.
        self._followed: dict[Container, _Followed] = {}
        self._restored: dict[ContainerKey, LoadAverage] = {}

    @property
    def idle(self) -> bool:
        """Tell whether no container is followed, and a step would do nothing; safe in every thread."""
        return not self._followed

    def snapshot(self) -> dict[ContainerKey, LoadAverage]:
        """Return all averages, also those restored that nobody has asked for yet; safe in every thread."""
        # One step of the interpreter: no thread can change the dictionary in between.
        followed = [*self._followed.items()]
        return {**self._restored.copy(), **{container.key: known.load for container, known in followed}}

    def restore(self, loads: Mapping[ContainerKey, LoadAverage]) -> None:
        """Continue these when their containers are read, unless that is longer away than we follow any."""
        now = time.monotonic()
        self._restored = {
            key: load
            for key, load in loads.items()
            if now - _FOLLOW_UNREAD_SECONDS < load.due <= now + PERIOD_SECONDS
        }

    def read(self, container: Container, uptime_usec: int) -> LoadView:
        """Return the load of a container, and follow it from now on; raises what the reader raises."""
        now = time.monotonic()
        followed = self._followed.get(container)
        if followed is None:
            followed = self._begin(container, uptime_usec, now)
        elif now - followed.counted_at >= _COUNT_VALID_SECONDS or now >= followed.load.due:
            followed = self._sample_again(container, followed, now)
        last_pid = followed.last_pid
        if last_pid is None:
            last_pid = self._last_pid(container, followed.newest)
        self._followed[container] = replace(followed, read_at=now, last_pid=last_pid)
        counts = followed.counts
        return LoadView(followed.load.averages, counts.running, counts.blocked, counts.total, last_pid)

    def step(self) -> None:
        """Sample what is due, for as long as one step may take; drop what nobody has read for long."""
        now = time.monotonic()
        for container, followed in [*self._followed.items()]:
            if now < followed.load.due:
                continue
            del self._followed[container]
            if now - followed.read_at >= _FOLLOW_UNREAD_SECONDS:
                continue
            try:
                self._followed[container] = self._sample_again(container, followed, now)
            except (CgroupError, OSError):
                # Most likely it has ended. If not, its next reader starts anew.
                continue
            if time.monotonic() - now >= _STEP_BUDGET_SECONDS:
                return

    def forget(self, container: Container) -> None:
        """Stop following a container."""
        self._followed.pop(container, None)

    def _begin(self, container: Container, uptime_usec: int, now: float) -> _Followed:
        restored = self._restored.pop(container.key, None)
        if restored is not None and now - restored.due < _FOLLOW_UNREAD_SECONDS:
            return self._sample(container, restored, now, read_at=now)
        mean = self._mean_load(container, uptime_usec)
        load = LoadAverage.begin(mean, uptime_usec / _USEC_PER_SECOND, now)
        return self._sample(container, load, now, read_at=now)

    def _sample_again(self, container: Container, followed: _Followed, now: float) -> _Followed:
        sampled = self._sample(container, followed.load, now, followed.read_at)
        # To ask for a pid costs more than to count: not where no task has come or gone.
        return replace(sampled, last_pid=followed.last_pid) if sampled.newest == followed.newest else sampled

    def _sample(self, container: Container, load: LoadAverage, now: float, read_at: float) -> _Followed:
        tasks = self._reader.tasks(container.paths)
        counts = tasks.counts or self._processes.count_states(tasks.ids)
        # Pids wrap around, so the highest is not always the newest; the start of each would cost a read.
        newest = sorted(tasks.ids, reverse=True)[:_ASK_FOR_PID]
        return _Followed(load.advance(counts.running + counts.blocked, now), counts, newest, now, read_at)

    def _last_pid(self, container: Container, newest: Sequence[int]) -> int:
        if container.in_host_pid_namespace:
            return newest[0] if newest else 0
        return self._processes.find_inner_pid(newest, container.init_pid)

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
