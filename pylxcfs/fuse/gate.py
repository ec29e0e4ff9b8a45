"""The gate between /dev/fuse and pyfuse3: it sees each request first (docs/adr/0024-gate.md).

pyfuse3 tells a READ handler neither the request's flags nor who asks, and libfuse wants to be asked INIT. The
gate owns the device, answers what it must itself, and lets the rest through:

- A frame is written into a pipe, whose read end stands on the descriptor number that libfuse reads from, the
  slot. Before an answer, dup2(2) lays the device on the same number, so that libfuse writes to the kernel.
- INIT with the kernel is the gate's. libfuse is always given one that we make, and its answer is thrown away:
  a fresh connection and one that another server has left are the same thing to it.
"""

import errno
import fcntl
import logging
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from os import dup2, read, write
from typing import Final, Protocol

from pylxcfs.fuse.affinity import Nearness
from pylxcfs.fuse.counts import RequestCounts
from pylxcfs.fuse.frames import (
    BEGINNING,
    FRAME_SIZE,
    IN_HEADER,
    LOOKED_INTO,
    UNANSWERED,
    UNIQUE_RESEND,
    Header,
    Opcode,
    answer_init,
    asked_handle,
    is_refused,
    pack_error,
    pack_library_init,
)
from pylxcfs.fuse.loop import Loop
from pylxcfs.fuse.suspicion import Suspicion, nothing_suspected

_log = logging.getLogger(__name__)

#: The request was taken back (its process was killed) while it was being read, or there is none.
_TRY_AGAIN: Final = frozenset({errno.ENOENT, errno.EAGAIN})
#: The file system was unmounted, or its connection aborted (umount -f).
_GONE: Final = frozenset({errno.ENODEV, errno.ECONNABORTED})

#: How often to look for the next request before sleeping, some microseconds each. A reader's requests come
#: in threes, and to be woken on an idle processor costs more than to answer: p50 162 -> 84 us on an idle
#: machine, with no more CPU time. Whoever else wants this processor gets it in between.
_TRIES: Final = 16
#: Requests after which to look whether anything else has happened: a busy reader never lets us sleep.
_IN_A_ROW: Final = 256

_PIPE_SIZE: Final = 1 << 16
#: Looked at for every request: a plain number is compared faster than a member of an enumeration.
_OPEN: Final = int(Opcode.OPEN)
_NOBODY: Final = bytes(IN_HEADER.size)


class Closed(Exception):  # noqa: N818 - an end
    """There are no more requests: the file system is unmounted, or serving is to end."""


class Sleeper(Protocol):
    """Somebody who polls a file."""

    def notify(self) -> None:
        """Make the kernel ask anew what has happened; raises OSError."""


class Gate:
    """Takes requests from one connection. Owned by the serving thread."""

    def __init__(
        self,
        device_fd: int,
        loop: Loop,
        passed_on: Iterable[int],
        nearness: Nearness | None = None,
        suspicion: Suspicion | None = None,
    ) -> None:
        """Take requests from `device_fd`, a mounted /dev/fuse that does not block.

        Pass those on whose opcodes are in `passed_on`; others are ENOSYS, after which the kernel asks some of
        them never again (FLUSH, ACCESS, POLL) and tells EOPNOTSUPP of others (extended attributes).
        The number of the present one is noted in `suspicion`, which knows those that servers have died of.
        """
        self._device = device_fd
        self._loop = loop
        self._passed_on = frozenset(map(int, passed_on))
        self._nearness = nearness
        self._noted, self._doubted = suspicion or nothing_suspected()
        self._exit, self._entry = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        if fcntl.fcntl(self._entry, fcntl.F_GETPIPE_SZ) < _PIPE_SIZE:
            # What a user without privileges gets who has many pipes. A frame has to fit.
            fcntl.fcntl(self._entry, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        #: The descriptor number that libfuse reads from and writes to.
        self.slot = fcntl.fcntl(self._exit, fcntl.F_DUPFD_CLOEXEC, 0)
        #: Where libfuse's answers go: nowhere, until it has answered our INIT.
        self._answers = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._nowhere: int | None = self._answers
        self._is_way_out = False
        self._left = _IN_A_ROW
        self.counts = RequestCounts()
        self._requests = self.counts.requests
        self._frame = _NOBODY
        #: Whether a request was passed on and the next one not asked for.
        self.is_answering = False

    @property
    def header(self) -> Header:
        """The request that is being answered: pyfuse3 does not tell every handler who asks for what."""
        return Header._make(IN_HEADER.unpack_from(self._frame))

    @property
    def is_doubted(self) -> bool:
        """Whether the present request is one that servers have died of."""
        unique = self._noted[0]
        return unique >= UNIQUE_RESEND and unique - UNIQUE_RESEND in self._doubted

    @property
    def asked_handle(self) -> int | None:
        """The handle of the open file that the present request, a GETATTR, is about; mostly it names none."""
        return asked_handle(self._frame)

    def wait(self) -> None:
        """Return when the next request stands in the slot; raises Closed.

        Whatever of the last one was not answered is EIO for who asked.
        """
        if self.is_answering:
            if not self._is_way_out or self._nowhere is not None:
                self.is_answering = False
                self._finish()
            dup2(self._exit, self.slot, False)  # noqa: FBT003 - by name it takes longer
            self.is_answering = self._is_way_out = False
        elif self._nowhere is not None:
            os.write(self._entry, pack_library_init())
            self.is_answering = True
            return
        # A request's whole way through here is in this one function: calls would cost a tenth of a read.
        loop, tries = self._loop, _TRIES
        while True:
            if loop.is_due or not tries or not self._left:
                self._turn()
                tries = _TRIES
            try:
                frame = read(self._device, FRAME_SIZE)
                length, opcode, unique, pid = BEGINNING.unpack_from(frame)
            except (OSError, struct.error) as error:
                self._excuse(error)
                tries -= 1
                continue
            self._left -= 1
            self._frame = frame
            self._noted[0] = unique
            if opcode == _OPEN and self._nearness is not None:
                self._nearness.asked_by(pid)
            if opcode in self._passed_on and length == len(frame):
                self._requests[opcode] += 1
                if opcode not in LOOKED_INTO or not is_refused(opcode, frame):
                    write(self._entry, frame)
                    self.is_answering = True
                    return
                self.counts.refused[errno.EINVAL] += 1
                self.refuse(errno.EINVAL)
            else:
                self._answer(opcode)
            tries = _TRIES

    def open_way_out(self) -> None:
        """Have what is written into the slot reach the kernel; call it before an answer."""
        dup2(self._answers, self.slot, False)  # noqa: FBT003 - by name it takes longer
        self._is_way_out = True

    def refuse(self, number: int) -> bool:
        """Answer the present request with an errno; False if nobody waits for an answer."""
        try:
            os.write(self._device, pack_error(self.header.unique, number))
        except OSError as error:
            # Its process was killed meanwhile, or the file system unmounted.
            if error.errno not in _TRY_AGAIN:
                raise
            return False
        return True

    def wake(self, sleeper: Sleeper) -> None:
        """Wake somebody who polls a file; call it between two requests."""
        self.open_way_out()
        try:
            # Unmounted a moment ago.
            with suppress(OSError):
                sleeper.notify()
        finally:
            dup2(self._exit, self.slot, False)  # noqa: FBT003 - as above
            self._is_way_out = False

    def close(self) -> None:
        """Let go of the gate's own descriptors; libfuse closes the slot, and our caller the device."""
        for fd in (self._exit, self._entry, *filter(None, (self._nowhere,))):
            os.close(fd)

    def _finish(self) -> None:
        """Look after what is not usual."""
        if self._nowhere is not None:
            os.close(self._nowhere)
            self._nowhere = None
            self._answers = self._device
        else:
            # libfuse has answered by itself, to where nobody reads, or not at all.
            self.refuse(errno.EIO)

    def _turn(self) -> None:
        """Do what else is to be done, and wait until there is a request or more of that; raises Closed."""
        if not self._loop.stopping:
            self._loop.turn()
            self._left = _IN_A_ROW
        if self._loop.stopping:
            raise Closed

    @staticmethod
    def _excuse(error: OSError | struct.error) -> None:
        """Let others have the processor if there is no request yet; raises Closed at the end, or `error`."""
        if not isinstance(error, OSError):
            # Nobody can be answered. No kernel has ever sent one.
            _log.warning("not answered: a request without a whole header")
        elif error.errno in _GONE:
            raise Closed from error
        elif error.errno not in _TRY_AGAIN:
            raise error
        else:
            os.sched_yield()

    def _answer(self, opcode: int) -> None:
        """Answer a request that is not to be passed on."""
        if opcode == Opcode.INIT:
            self._requests[opcode] += 1
            os.write(self._device, answer_init(self._frame))
        elif opcode not in UNANSWERED:
            self.refuse(errno.ENOSYS)
