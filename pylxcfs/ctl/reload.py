"""``pylxcfsctl reload``: a server of the installed code takes over, or it is said why not."""

import argparse
import os
import signal
import time
from pathlib import Path
from typing import Final

from pylxcfs.console import write_lines
from pylxcfs.ctl.options import add_runtime_dir
from pylxcfs.rundir.pidfile import holder
from pylxcfs.rundir.supervisor_state import RunState, StateFile

EPILOG: Final = (
    "Exit status: 0 a server of the installed code serves; 1 it could not be had, and nothing has changed."
)
_STEP_SECONDS: Final = 0.02
#: Longer than a supervisor waits for new code.
_GIVE_UP_SECONDS: Final = 90.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.epilog = EPILOG
    add_runtime_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Have the supervisor load the installed code (SIGUSR1) and wait for what comes of it."""
    directory = arguments.runtime_dir.absolute() / "pylxcfs"
    pid = _supervisor(directory)
    if pid is None:
        raise LookupError(f"pylxcfs does not run (nobody has locked {directory}/lock)")
    state = _reload(directory, pid)
    if state is None:
        raise TimeoutError("the supervisor has not said what came of it")
    if state.reload.error:
        raise LookupError(f"nothing has changed, as the installed code does not start: {state.reload.error}")
    write_lines([f"server {state.server_pid} (generation {state.generation}) serves"])
    return 0


def _reload(directory: Path, pid: int) -> RunState | None:
    """Return the supervisor's state once it tells of this reload and a server serves; None if it does not."""
    before = StateFile(directory).read()
    asked_at = time.time()
    os.kill(pid, signal.SIGUSR1)
    give_up = time.monotonic() + _GIVE_UP_SECONDS
    while time.monotonic() < give_up:
        state = StateFile(directory).read()
        if state is not None and state.reload.asked_at >= asked_at:
            took_over = before is None or state.replaced > before.replaced
            if state.reload.error or (took_over and not state.trouble):
                return state
        if _supervisor(directory) != pid:
            return None
        time.sleep(_STEP_SECONDS)
    return None


def _supervisor(directory: Path) -> int | None:
    try:
        return holder(directory / "lock")
    except FileNotFoundError:
        return None
