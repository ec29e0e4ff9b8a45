"""Collects what a server tells of itself from those who count (pylxcfs/metrics.py)."""

import errno
import os
import time
from collections.abc import Mapping
from typing import Protocol

from pylxcfs import __version__
from pylxcfs.content.counters import FileCounters
from pylxcfs.content.engine import Engine
from pylxcfs.fuse.counts import RequestCounts
from pylxcfs.fuse.frames import Opcode
from pylxcfs.fuse.loop import Loop
from pylxcfs.procfiles.binds import CPU_DIRECTORY
from pylxcfs.status.document import FallbackStatus, FileStatus, ServerStatus, summarize
from pylxcfs.supervision.protocol import ALIVE_SECONDS


class Serving(Protocol):
    """The FUSE side of the server."""

    @property
    def loop(self) -> Loop:
        """The serving thread's events."""

    @property
    def counts(self) -> RequestCounts:
        """How requests were answered so far."""

    @property
    def open_files(self) -> int:
        """How many files are open."""

    @property
    def lost_reads(self) -> int:
        """How many reads in pieces would not survive this server."""


class StatusSource:
    """Looks at a server from another thread than the one that serves; what it sees may be a request old."""

    def __init__(self, generation: int, engine: Engine, serving: Serving) -> None:
        """Tell of what begins now."""
        self._began_at = time.time()
        self._generation = generation
        self._engine = engine
        self._serving = serving

    def status(self) -> ServerStatus:
        """Look."""
        content = self._engine.content
        # Copies, made in one step: the serving thread goes on adding keys.
        fallbacks = dict(content.fallbacks)
        counts = self._serving.counts
        refused = dict(counts.refused)
        requests = enumerate(counts.requests)
        ledgers = self._engine.ledgers
        waiting = len(self._serving.loop.steps)
        return ServerStatus(
            version=__version__,
            pid=os.getpid(),
            generation=self._generation,
            began_at=self._began_at,
            host_view=content.shows_host,
            # The sign of life is posted again and again, and called at once.
            unresponsive_seconds=0.0 if waiting <= 1 else waiting * ALIVE_SECONDS,
            containers=self._engine.resolver.known,
            open_files=self._serving.open_files,
            lost_reads=self._serving.lost_reads,
            requests={Opcode(opcode).name: count for opcode, count in requests if count},
            files=self._files(),
            fallbacks=tuple(
                FallbackStatus(file, why, count) for (file, why), count in sorted(fallbacks.items())
            ),
            unresolved=self._engine.resolver.unresolved,
            guessed=self._engine.resolver.guessed,
            refused={errno.errorcode[number]: count for number, count in sorted(refused.items())},
            failed=counts.failed,
            ledger_bytes=0 if ledgers is None else ledgers.held_bytes,
            unkept_ledgers=0 if ledgers is None else ledgers.unkept,
            followed_loads=self._engine.loads.followed,
            estimated_loads=self._engine.loads.estimated,
        )

    def _files(self) -> Mapping[str, FileStatus]:
        content = self._engine.content
        by_path = {file.path: FileCounters() for file in self._engine.files} | dict(content.counters)
        # What looks for a CPU's directory needs the list of CPUs, and is no reader of it.
        by_path[f"{CPU_DIRECTORY}/"] = content.walks
        return {path: summarize([counters]) for path, counters in by_path.items()}
