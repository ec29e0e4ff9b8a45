"""pyfuse3's own session loop, driven in the calling thread (docs/adr/0001-synchronous-serving.md).

Under trio each request would be a task, and cost more than its answer. Our handlers never suspend, so the
loop's coroutine runs through in one go. What this relies on, in pyfuse3 3.5 (tests/unit/test_driver.py holds
it, and fails with a pyfuse3 whose loop is another one):

- The loop gets trio by the module's attribute `trio`, which pyfuse3.asyncio replaces too, and uses of it what
  `_stand_ins` has: `_wait_fuse_readable()` and `_session_loop()` in internal.pxi, `main()` in __init__.pyx.
- `_session_loop()` reads one request after each wait for the session's descriptor, and awaits its handler
  before the next.
- An answer that the kernel does not take is told to nobody but the module's attribute `log` (handlers.pxi:
  "fuse_reply_* failed").
- pyfuse3 has one session in a process, in module variables; init() can be called again after close().
"""

import errno
import logging
from types import SimpleNamespace
from typing import Any, Final, Protocol, Self

import pyfuse3

from pylxcfs.fuse.gate import Closed, Gate

_log = logging.getLogger(__name__)


class Undoing(Protocol):
    """Handlers that can undo what they have answered last."""

    def take_back(self) -> None:
        """Undo the last answer: nobody has waited for it."""


class _At:
    """Something to await that lets the coroutine go on at once. In C: it is awaited for every request."""

    __await__ = ().__iter__


class _Lock:
    """A lock that nobody else wants."""

    _entered: Final = _At()

    def __aenter__(self) -> _At:
        return self._entered

    def __aexit__(self, *_exception: object) -> _At:
        return self._entered


class _Nursery:
    """Runs its one child in place, at the end."""

    async def __aenter__(self) -> Self:
        self._children: list[tuple[Any, tuple[object, ...]]] = []
        return self

    def start_soon(self, function: Any, *arguments: object, name: str | None = None) -> None:  # noqa: ANN401
        """Remember the child."""
        del name
        self._children.append((function, arguments))

    async def __aexit__(self, *_exception: object) -> None:
        for function, arguments in self._children:
            await function(*arguments)


class _Notes:
    """In place of pyfuse3's log: its only errors are answers that the kernel has not taken."""

    def __init__(self, gate: Gate, operations: Undoing) -> None:
        self._gate = gate
        self._operations = operations

    def debug(self, *_message: object) -> None:
        """Nothing of interest."""

    def error(self, *message: object) -> None:
        """Undo the answer, and have nobody wait for another."""
        if self._gate.refuse(errno.EIO):
            _log.error("the kernel refuses our answer; its sender gets EIO: %s", message)
        self._operations.take_back()


def serve(operations: pyfuse3.Operations, undoing: Undoing, gate: Gate) -> None:
    """Serve what comes through `gate` until it is closed; raises what waiting for requests raises.

    An exception that leaves a handler, or pyfuse3 itself, is EIO for who asked, and serving goes on.
    """
    module = vars(pyfuse3)
    real = {name: module[name] for name in ("trio", "log")}
    module.update(trio=_stand_ins(gate), log=_Notes(gate, undoing))
    pyfuse3.init(operations, f"/dev/fd/{gate.slot}", set())
    try:
        while not _run(gate):
            pass
    finally:
        pyfuse3.close(unmount=False)
        module.update(real)


def _run(gate: Gate) -> bool:
    """Run pyfuse3's loop; False if it ended by an exception of a handler."""
    coroutine = pyfuse3.main(1, 1)
    try:
        coroutine.send(None)
    except StopIteration:
        if gate.is_answering:
            raise RuntimeError("pyfuse3 does not serve any more") from None
        return True
    except Exception:
        if not gate.is_answering:
            raise
        _log.exception("a request failed in pyfuse3; its sender gets EIO")
        gate.refuse(errno.EIO)
        return False
    coroutine.close()
    raise RuntimeError("a handler waits")


def _stand_ins(gate: Gate) -> SimpleNamespace:
    """Return what pyfuse3 uses of trio."""
    at = _At()
    task = SimpleNamespace(name="serve")

    def wait_readable(_slot: int) -> _At:
        gate.wait()
        return at

    lowlevel = SimpleNamespace(
        current_trio_token=lambda: None, current_task=lambda: task, wait_readable=wait_readable
    )
    return SimpleNamespace(Lock=_Lock, open_nursery=_Nursery, ClosedResourceError=Closed, lowlevel=lowlevel)
