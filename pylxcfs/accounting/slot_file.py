"""A file of equal slots in shared memory, whose space is there before anything is written to it.

A page of a mapped file for which the file system has no room ends the process with SIGBUS. So every byte is
allocated with posix_fallocate(3) before it is mapped: a full file system refuses a slot, and nothing else.
"""

import contextlib
import logging
import mmap
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)
_EXISTING: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
#: How many slots are made at once: at first, and where there is no room for twice as many.
_FEW: Final = 16
#: After a failure. To try costs some system calls, and readers wait.
_TRY_AGAIN_SECONDS: Final = 5.0


class SlotFile:
    """Slots by their offset in `memory`; a slot that nobody uses holds zeros. Owned by one thread.

    Opened when it is first used. No method raises: a file that cannot be had, or have more slots, is logged
    once and tried again after five seconds.
    """

    def __init__(self, path: Path, header: bytes, slot_size: int, budget_bytes: int, loss: str) -> None:
        """Use `path`, at most `budget_bytes` of it; a file that begins with another header is replaced.

        `loss` is what a failure costs, for the log.
        """
        self._path = path
        self._loss = loss
        self._header = header
        self._slot_size = slot_size
        self._most = max(1, (budget_bytes - len(header)) // slot_size)
        self._memory: mmap.mmap | None = None
        self._fd = -1
        self._free: list[int] = []
        self._wait_until = 0.0
        self._complained = False

    @property
    def held_bytes(self) -> int:
        """How much of the file system it takes; safe in every thread."""
        memory = self._memory
        return 0 if memory is None else len(memory)

    def is_there(self) -> bool:
        """Tell whether anybody has used it since the last boot or clean-up."""
        return self._memory is not None or self._path.exists()

    def open(self) -> mmap.mmap | None:
        """Return the memory that slots are in; None while the file cannot be had."""
        if self._memory is None and time.monotonic() >= self._wait_until:
            try:
                self._fd = self._open_file()
                self._memory = mmap.mmap(self._fd, 0)
                self._free = [slot for slot in self._slots(0) if not self._is_used(self._memory, slot)]
            except (OSError, ValueError) as error:
                self._close()
                self._fail(error)
        return self._memory

    def used(self) -> Iterator[int]:
        """Yield the slots that are not empty."""
        memory = self.open()
        if memory is not None:
            free = set(self._free)
            yield from (slot for slot in self._slots(0) if slot not in free)

    def take(self) -> int | None:
        """Return an empty slot; None if there is no room for one."""
        if self.open() is None or not (self._free or self._grow()):
            return None
        slot = self._free.pop()
        self._clear(slot)
        return slot

    def give_back(self, slot: int) -> None:
        """Empty a slot, for whoever needs one."""
        if self._memory is not None:
            self._clear(slot)
            self._free.append(slot)

    def _open_file(self) -> int:
        """Open the file, or make it; raises OSError."""
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            fd = os.open(self._path, _EXISTING)
            try:
                if stat.S_ISREG(os.fstat(fd).st_mode) and os.pread(fd, len(self._header), 0) == self._header:
                    # Whole slots, at least one: and no holes, whoever made it.
                    slots = max(1, (os.fstat(fd).st_size - len(self._header)) // self._slot_size)
                    _allocate(fd, len(self._header) + slots * self._slot_size)
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)
        return self._make_file()

    def _make_file(self) -> int:
        """Make a new file in the place of what is there: another process may have that mapped."""
        new = self._path.with_name(f"{self._path.name}.new")
        new.unlink(missing_ok=True)
        fd = os.open(new, _NEW, 0o600)
        try:
            _allocate(fd, len(self._header) + min(_FEW, self._most) * self._slot_size)
            os.pwrite(fd, self._header, 0)
            new.replace(self._path)
        except BaseException:
            os.close(fd)
            new.unlink(missing_ok=True)
            raise
        return fd

    def _grow(self) -> bool:
        """Make room for more slots: twice as many, or a few."""
        memory = self._memory
        if memory is None or time.monotonic() < self._wait_until:
            return False
        before = len(memory)
        slots = (before - len(self._header)) // self._slot_size
        error: Exception | None = None
        for wanted in dict.fromkeys(min(self._most, slots + more) for more in (slots, _FEW)):
            if wanted <= slots:
                continue
            size = len(self._header) + wanted * self._slot_size
            try:
                _allocate(self._fd, size)
                memory.resize(size)
            except (OSError, ValueError, SystemError) as failure:
                error = failure
                continue
            self._free.extend(reversed([*self._slots(before)]))
            self._complained = False
            return True
        self._fail(error or f"its budget is used up, with {slots} containers")
        return False

    def _slots(self, after: int) -> Iterator[int]:
        """Yield the slots whose end is behind `after`."""
        first = len(self._header)
        for slot in range(first, self.held_bytes - self._slot_size + 1, self._slot_size):
            if slot + self._slot_size > after:
                yield slot

    def _clear(self, slot: int) -> None:
        if self._memory is not None:
            self._memory[slot : slot + self._slot_size] = bytes(self._slot_size)

    def _is_used(self, memory: mmap.mmap, slot: int) -> bool:
        return memory[slot : slot + self._slot_size].count(0) < self._slot_size

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def _fail(self, why: object) -> None:
        self._wait_until = time.monotonic() + _TRY_AGAIN_SECONDS
        if not self._complained:
            _log.warning("%s: %s: %s", self._loss, self._path, why)
        self._complained = True


def _allocate(fd: int, size: int) -> None:
    """Make a file that long, all of it with space of its own; raises OSError, and changes nothing then."""
    before = os.fstat(fd).st_size
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError:
        # Where the file system cannot do it, the C library writes, and may have written some.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, before)
        raise
