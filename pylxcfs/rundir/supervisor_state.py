"""What the supervisor writes down about itself: for `pylxcfsctl status`, and for the supervisor after it."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from pylxcfs.rundir.files import READABLE, replace_file

_log = logging.getLogger(__name__)
_VERSION: Final = 1
_NUMBER_END: Final = 1 << 63


class Replacement(NamedTuple):
    """One server taking over from another."""

    #: When, seconds since the epoch.
    at: float
    #: Why the other one ended.
    why: str
    #: How long nobody served.
    gap_seconds: float


class Reload(NamedTuple):
    """An operator's wish for a server of the installed code, and what came of it."""

    #: When it was asked for and when it had an answer, seconds since the epoch; 0 if nobody has ever asked.
    asked_at: float = 0.0
    ended_at: float = 0.0
    #: Why nothing was changed; empty where a server of that code was ready to take over.
    error: str = ""


class Reserve(NamedTuple):
    """What is there for the case that the server dies."""

    #: The process that servers are forked from, and the server that waits; 0 for none.
    template_pid: int = 0
    spare_pid: int = 0
    #: Why one of them is missing; empty in health.
    problem: str = ""


class RunState(NamedTuple):
    """A supervisor and its server."""

    supervisor_pid: int
    started_at: float
    mount_point: str
    #: ``major:minor`` of the mount.
    device: str
    server_pid: int
    generation: int
    host_view: bool
    replaced: int
    #: The latest ones, oldest first.
    replacements: Sequence[Replacement] = ()
    #: Of the supervisor's code, which stays when servers are replaced by those of another version.
    program_version: str = ""
    reload: Reload = Reload()
    reserve: Reserve = Reserve()
    #: Why nobody serves; empty if somebody does.
    trouble: str = ""
    #: When it is tried again to have what is missing, be it a server or a reserve (seconds since the epoch);
    #: 0 if nothing is, or a try is under way.
    next_try_at: float = 0.0


class StateFile:
    """Where it is written."""

    def __init__(self, directory: Path) -> None:
        """Use ``supervisor.json`` in `directory`, which need not exist yet."""
        self._path = directory / "supervisor.json"
        self._complained = False

    def write(self, state: RunState) -> None:
        """Replace the file; a failure is logged once, and costs no more than what it is for."""
        text = json.dumps({"version": _VERSION, **state._asdict()})
        try:
            self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            replace_file(self._path, text.encode(), READABLE)
        except OSError as error:
            if not self._complained:
                _log.warning("pylxcfsctl status will not know us: %s", error)
            self._complained = True

    def read(self) -> RunState | None:
        """Return what the last supervisor wrote; None if there is nothing, or nothing that we understand."""
        try:
            content: dict[str, Any] = json.loads(self._path.read_bytes())
            if content["version"] != _VERSION:
                return None
            # A later version may tell more.
            content = {name: content[name] for name in RunState._fields if name in content}
            content["replacements"] = tuple(_checked(Replacement(*one)) for one in content["replacements"])
            content["reload"] = _checked(Reload(*content.get("reload", ())))
            content["reserve"] = _checked(Reserve(*content.get("reserve", ())))
            return _checked(RunState(**content))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


_State = TypeVar("_State", Replacement, Reload, Reserve, RunState)


def _checked(state: _State) -> _State:
    """Return `state` if each of its values can be one of its field; raises TypeError and ValueError."""
    for name, kind in state.__annotations__.items():
        value = getattr(state, name)
        # JSON does not tell 1.0 from 1, and Python has True among its integers.
        types = {float: int | float, int: int, bool: bool, str: str}.get(kind, tuple)
        if not isinstance(value, types) or isinstance(value, bool) is not (kind is bool):
            raise TypeError(name)
        # All of them count something, or are times; NaN is not below anything.
        if isinstance(value, int | float) and not 0 <= value < _NUMBER_END:
            raise ValueError(name)
    return state


def is_server(pid: int) -> bool:
    """Tell whether `pid` is a server of ours: pids are reused."""
    try:
        return b"pylxcfs.server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
