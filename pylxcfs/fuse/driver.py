"""The session loop, driven synchronously (docs/adr/0001-synchronous-serving.md).

pyfuse3's handlers are coroutines made for an event loop. Ours never suspend, so one ``send(None)`` runs
one from a request to its answer, and the only thing that is ever waited for is the next request: one
poll(2). pyfuse3 reaches its event loop through its module attribute ``trio``, which is how
``pyfuse3.asyncio`` replaces it too.
"""

import errno
import os
import select
import types
from collections import deque
from collections.abc import Callable
from typing import Any, Self

import pyfuse3


class SessionLoop:
    """Serves the session that `pyfuse3.init` made, in the thread that calls `run`.

    That thread owns everything which requests touch. Others reach it with `post` and `stop`.
    """

    def __init__(self, device_fd: int) -> None:
        """Wait on `device_fd`, the connection's /dev/fuse."""
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._steps: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._poller = select.poll()
        self._poller.register(device_fd, select.POLLIN)
        self._poller.register(self._wake_fd, select.POLLIN)

    def run(self) -> None:
        """Serve until the file system is unmounted or `stop` is called."""
        pyfuse3.trio = self._event_loop()  # type: ignore[attr-defined]
        while not self._stopping:
            try:
                pyfuse3.main(1, 1).send(None)
            except StopIteration:
                return
            except OSError as error:
                # The reader was killed between poll(2) and read(2) and took its request with it.
                if error.errno != errno.EAGAIN:
                    raise

    def post(self, step: Callable[[], None]) -> None:
        """Have `step` called in the serving thread, between two requests."""
        self._steps.append(step)
        os.eventfd_write(self._wake_fd, 1)

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping = True
        os.eventfd_write(self._wake_fd, 1)

    async def _wait_readable(self, _fd: int) -> None:
        while True:
            ready = self._poller.poll()
            if len(ready) == 1 and ready[0][0] != self._wake_fd:
                return
            os.eventfd_read(self._wake_fd)
            while self._steps:
                self._steps.popleft()()
            if self._stopping:
                raise _SessionClosedError
            if len(ready) > 1:
                return

    def _event_loop(self) -> Any:  # noqa: ANN401 - stands in for a module
        """Return the few names of trio that pyfuse3's session loop uses."""
        task = types.SimpleNamespace(name="serve")
        return types.SimpleNamespace(
            Lock=_Uncontended,
            open_nursery=_InPlace,
            ClosedResourceError=_SessionClosedError,
            lowlevel=types.SimpleNamespace(
                current_trio_token=lambda: None,
                current_task=lambda: task,
                wait_readable=self._wait_readable,
                notify_closing=lambda _fd: None,
            ),
        )


class _SessionClosedError(Exception):
    """Tells pyfuse3 that there will be no more requests."""


class _Uncontended:
    """A lock that only one task ever wants."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_exc: object) -> None:
        pass


class _InPlace:
    """A nursery that runs its one child in place."""

    async def __aenter__(self) -> Self:
        self._children: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        return self

    def start_soon(self, function: Callable[..., Any], *args: object, name: str | None = None) -> None:
        del name
        self._children.append((function, args))

    async def __aexit__(self, *exc: object) -> None:
        if exc[0] is None:
            for function, args in self._children:
                await function(*args)
