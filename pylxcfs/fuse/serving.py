"""The FUSE side of a server, put together."""

from pathlib import Path

from pylxcfs.content.engine import Engine
from pylxcfs.fuse import driver
from pylxcfs.fuse.affinity import Nearness
from pylxcfs.fuse.counts import RequestCounts
from pylxcfs.fuse.frames import Opcode
from pylxcfs.fuse.gate import Gate
from pylxcfs.fuse.loop import Loop
from pylxcfs.fuse.operations import ANSWERED, Operations
from pylxcfs.fuse.partial_reads import Passes
from pylxcfs.fuse.suspicion import Suspicion
from pylxcfs.fuse.tree import Tree
from pylxcfs.fuse.triggers import Triggers


class Serving:
    """Serves one connection, in the thread that calls `run`. There can be one in a process."""

    def __init__(
        self,
        device_fd: int,
        engine: Engine,
        kept: Path,
        *,
        triggers: bool,
        suspicion: Suspicion | None = None,
    ) -> None:
        """Serve `engine` on `device_fd`; what readers are in the middle of is kept in the directory `kept`.

        With `triggers` containers may set them on pressure files. Requests that servers have died of, as
        `suspicion` knows, are answered from the fallback.
        """
        self.loop = Loop(device_fd)
        passed_on = ANSWERED | {Opcode.POLL} if triggers else ANSWERED
        nearness = Nearness(engine.processes.last_cpu)
        self._gate = Gate(device_fd, self.loop, passed_on, nearness, suspicion)
        self._passes = Passes(kept)
        self._operations = Operations(
            Tree(engine.files, engine.cpu_tree, triggers=triggers),
            engine.content,
            self._passes,
            self._gate,
            Triggers(engine.content, self.loop, self._gate.wake) if triggers else None,
        )

    @property
    def counts(self) -> RequestCounts:
        """How requests were answered so far."""
        return self._gate.counts

    @property
    def open_files(self) -> int:
        """How many files are open that this server has opened or gone on with."""
        return self._operations.open_files

    @property
    def lost_reads(self) -> int:
        """How many reads in pieces would not survive this server."""
        return self._passes.lost

    def begin_anew(self) -> None:
        """Forget what earlier servers have left: the mount is new."""
        self._passes.clear()

    def run(self) -> None:
        """Serve until the file system is unmounted or `loop.stop` is called."""
        driver.serve(self._operations, self._operations, self._gate)
