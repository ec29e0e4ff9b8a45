"""Who runs, and how: the supervisor's own word, the server's, and what /proc says of both."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from pylxcfs.rundir import status_socket
from pylxcfs.rundir.pidfile import holder
from pylxcfs.rundir.supervisor_state import Reserve, RunState, StateFile, is_server
from pylxcfs.status.document import ServerStatus

#: A server answers within some milliseconds, and on a loaded machine some tens of them.
ANSWER_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """One of our processes, as psutil(3) sees it."""

    pid: int
    #: ``running``, ``sleeping``, ``stopped``, ``disk-sleep``, ``zombie`` …
    state: str
    began_at: float
    resident_bytes: int
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class RunStatus:
    """All that can be found out about a daemon, whether or not it answers."""

    runtime_dir: Path
    #: When this was found out, seconds since the epoch.
    at: float
    #: None: no supervisor runs.
    supervisor: ProcessStatus | None = None
    #: None: no server runs, or nobody has told which it is.
    server_process: ProcessStatus | None = None
    #: What the supervisor has written down; None: nothing that we understand.
    state: RunState | None = None
    #: None: it does not answer; then `silence` says why.
    server: ServerStatus | None = None
    silence: str = ""
    #: What servers are forked from, and the one that waits; None: there is none, or nobody has told.
    template_process: ProcessStatus | None = None
    spare_process: ProcessStatus | None = None

    @property
    def is_well(self) -> bool:
        """Whether a supervisor runs and its server answers."""
        return (
            self.supervisor is not None and self.server is not None and not self.server.unresponsive_seconds
        )


def find_out(runtime_dir: Path, answer_seconds: float = ANSWER_SECONDS) -> RunStatus:
    """Look at the daemon whose ``--runtime-dir`` this is; waits for its server no longer than that."""
    directory = runtime_dir / "pylxcfs"
    state = StateFile(directory).read()
    supervisor = _process(_supervisor_pid(directory))
    if supervisor is None:
        return RunStatus(runtime_dir, time.time(), state=state, silence="pylxcfs does not run")
    server: ServerStatus | None = None
    silence = ""
    try:
        answer = status_socket.ask(directory, answer_seconds)
        server = ServerStatus.from_document(json.loads(answer))
    except TimeoutError:
        silence = f"the server did not answer within {answer_seconds:g} s"
    except PermissionError:
        silence = "only root may ask the server"
    except (FileNotFoundError, ConnectionRefusedError):
        silence = "no server listens"
    except (OSError, ValueError) as error:
        silence = f"the server's answer could not be used: {error}"
    pid = server.pid if server else state.server_pid if state and is_server(state.server_pid) else None
    reserve = state.reserve if state else Reserve()
    return RunStatus(
        runtime_dir,
        time.time(),
        supervisor,
        server_process=_process(pid),
        template_process=_process(reserve.template_pid or None),
        spare_process=_process(reserve.spare_pid or None),
        state=state,
        server=server,
        silence=silence,
    )


def _supervisor_pid(directory: Path) -> int | None:
    try:
        return holder(directory / "lock")
    except OSError:
        return None


def _process(pid: int | None) -> ProcessStatus | None:
    if pid is None:
        return None
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            used = process.cpu_times()
            return ProcessStatus(
                pid=pid,
                state=str(process.status()),
                began_at=process.create_time(),
                resident_bytes=process.memory_info().rss,
                cpu_seconds=used.user + used.system,
            )
    except psutil.Error:
        return None
