"""What the serving thread waits for between requests, besides the next one."""

import os
import select
from collections import deque
from collections.abc import Callable


class Loop:
    """The events of the serving thread, which owns all that requests touch.

    Other threads reach it with `post` and `stop`; the others are for the serving thread itself.
    """

    def __init__(self, device_fd: int) -> None:
        """Wait for `device_fd` too."""
        self._device_fd = device_fd
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        #: What was posted and not called yet.
        self.steps: deque[Callable[[], None]] = deque()
        self.stopping = False
        #: Whether there is something to be done before the next request.
        self.is_due = False
        self._poller = select.poll()
        self._poller.register(device_fd, select.POLLIN)
        self._poller.register(self._wake_fd, select.POLLIN)
        self._watched: dict[int, Callable[[int], None]] = {}

    def turn(self) -> None:
        """Wait until something happens, and do what is to be done, but for requests."""
        # In the order of registration reversed, so the device last: what is called may close what is watched,
        # and its number may be used again.
        for fd, events in reversed(self._poller.poll()):
            if fd == self._wake_fd:
                os.eventfd_read(fd)
                # In this order: what is posted meanwhile is called now or at the next turn.
                self.is_due = self.stopping
                while self.steps:
                    self.steps.popleft()()
            elif fd != self._device_fd:
                self._watched[fd](events)

    def post(self, step: Callable[[], None]) -> None:
        """Have `step` called in the serving thread, between two requests."""
        self.steps.append(step)
        self.is_due = True
        os.eventfd_write(self._wake_fd, 1)

    def stop(self) -> None:
        """End serving, after the request that is being answered."""
        self.stopping = self.is_due = True
        os.eventfd_write(self._wake_fd, 1)

    def watch(self, fd: int, call: Callable[[int], None]) -> None:
        """Have `call` called with the events whenever `fd` has urgent data or an error (poll(2))."""
        self._watched[fd] = call
        self._poller.register(fd, select.POLLPRI)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`, before it is closed."""
        self._poller.unregister(fd)
        del self._watched[fd]

    def close(self) -> None:
        """Let go of its descriptor, once nobody posts any more."""
        os.close(self._wake_fd)
