"""The session loop: takes a request from /dev/fuse, has it answered, and writes the answer.

Synchronous, in one thread (docs/adr/0001-synchronous-serving.md).
"""

import contextlib
import errno
import logging
import os
import select
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from pylxcfs.fuse.affinity import Nearness
from pylxcfs.fuse.wire import (
    BUFFER_SIZE,
    OUT_HEADER,
    UNANSWERED,
    ProtocolError,
    Request,
    pack_notify_poll,
    parse_request,
)

_log = logging.getLogger(__name__)

#: The request was taken back (its process was killed) while it was being read or answered.
_TAKEN_BACK: Final = frozenset({errno.ENOENT, errno.EAGAIN})

#: How often to look for the next request before sleeping, some microseconds each. A reader's requests come
#: in threes, and to be woken on an idle processor costs more than to answer: p50 162 -> 84 us on an idle
#: machine, with no more CPU time. Whoever else wants this processor gets it in between.
_TRIES: Final = 16
#: Requests after which to look whether anything else has happened: a busy reader never lets us sleep.
_IN_A_ROW: Final = 256


class Answerer(Protocol):
    """Answers requests."""

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Return an errno, or 0 and the answer's body; raises nothing."""

    def take_back(self, request: Request, body: bytes) -> None:
        """Undo an answer that could not be given: nobody waits for it any more."""


class Session:
    """Serves one connection, in the thread that calls `run`.

    That thread owns everything which requests touch. Others reach it with `post` and `stop`; what it owns
    itself, with `watch`, `unwatch` and `notify_poll`.
    """

    def __init__(self, device_fd: int, nearness: Nearness | None = None) -> None:
        """Serve `device_fd`, a mounted /dev/fuse that does not block, near its readers with `nearness`."""
        self._device_fd = device_fd
        self._nearness = nearness
        self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._steps: deque[Callable[[], None]] = deque()
        self._stopping = False
        self._poller = select.poll()
        self._poller.register(device_fd, select.POLLIN)
        self._poller.register(self._wake_fd, select.POLLIN)
        self._watched: dict[int, Callable[[int], None]] = {}

    def run(self, answerer: Answerer) -> None:
        """Serve until the file system is unmounted or `stop` is called."""
        while not self._stopping:
            # In the order of registration, so the device last: an answer may close what is watched, and its
            # number may be used again.
            for fd, events in reversed(self._poller.poll()):
                if fd == self._device_fd:
                    if not self._serve_some(answerer):
                        return
                elif fd == self._wake_fd:
                    self._run_steps()
                else:
                    self._watched[fd](events)

    def post(self, step: Callable[[], None]) -> None:
        """Have `step` called in the serving thread, between two requests."""
        self._steps.append(step)
        os.eventfd_write(self._wake_fd, 1)

    @property
    def waiting_steps(self) -> int:
        """How many steps were posted and not called yet."""
        return len(self._steps)

    def stop(self) -> None:
        """Make `run` return."""
        self._stopping = True
        os.eventfd_write(self._wake_fd, 1)

    def watch(self, fd: int, call: Callable[[int], None]) -> None:
        """Have `call` called with the events whenever `fd` has urgent data or an error (poll(2))."""
        self._watched[fd] = call
        self._poller.register(fd, select.POLLPRI)

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`, before it is closed."""
        self._poller.unregister(fd)
        del self._watched[fd]

    def notify_poll(self, kernel_handle: int) -> None:
        """Make the kernel ask anew for those who poll a file."""
        os.write(self._device_fd, pack_notify_poll(kernel_handle))

    def _run_steps(self) -> None:
        os.eventfd_read(self._wake_fd)
        while self._steps:
            self._steps.popleft()()

    def _serve_some(self, answerer: Answerer) -> bool:
        """Answer requests until none comes; return False once the file system is unmounted."""
        tries, left = _TRIES, _IN_A_ROW
        while tries and left and not self._steps and not self._stopping:
            try:
                message = os.read(self._device_fd, BUFFER_SIZE)
            except OSError as error:
                if error.errno in _TAKEN_BACK:
                    tries -= 1
                    os.sched_yield()
                    continue
                if error.errno == errno.ENODEV:
                    return False
                raise
            tries = _TRIES
            left -= 1
            try:
                request = parse_request(message)
            except ProtocolError as error:
                # Nobody can be answered. No kernel has ever sent one.
                _log.warning("not answered: %s", error)
                continue
            if self._nearness is not None:
                self._nearness.asked_by(request.pid)
            self._serve(answerer, request)
        return True

    def _serve(self, answerer: Answerer, request: Request) -> None:
        """Answer one request."""
        if request.opcode in UNANSWERED:
            return
        number, body = answerer.answer(request)
        try:
            self._answer(request, number, body)
        except OSError as error:
            if error.errno == errno.EINVAL:
                _log.error(
                    "the kernel refuses our answer to a request %d; its sender gets EIO", request.opcode
                )
                # Where it was the body, the kernel has told its sender, and has forgotten the request.
                with contextlib.suppress(OSError):
                    self._answer(request, errno.EIO, b"")
            elif error.errno not in _TAKEN_BACK:
                raise
            if number == 0:
                answerer.take_back(request, body)

    def _answer(self, request: Request, number: int, body: bytes) -> None:
        header = OUT_HEADER.pack(OUT_HEADER.size + len(body), -number, request.unique)
        os.writev(self._device_fd, (header, body))
