"""CPU ledgers in shared memory, for the server after this one (docs/adr/0003-cpu-counters-as-a-ledger.md).

Every ledger that was shown is in the file before its reader has it, so that no counter goes back however
the server ends. Writing one is a few microseconds and no system call. Each has a slot with two halves,
written in turn: a server that dies in the middle of one leaves the other.
"""

import contextlib
import hashlib
import logging
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pylxcfs.accounting.cpu_ledger import CpuTimes, Ledger
from pylxcfs.cgroup.types import CpuTime
from pylxcfs.containers.container import ContainerKey

_log = logging.getLogger(__name__)
_MAGIC: Final = b"pylxcfs ledgers 1\n"
#: Magic, boot id, size of a slot.
_HEADER: Final = struct.Struct("=18s38sq")
_KEY_SIZE: Final = 16
#: Sequence number, how many numbers follow, their checksum.
_HALF: Final = struct.Struct("=QII")
#: No server writes so often.
_SEQUENCE_END: Final = 1 << 48
#: Numbers of a ledger, and of each of its CPUs.
_FIXED: Final = 6
_PER_CPU: Final = 7
_WORD: Final = 8
_SLOTS_AT_FIRST: Final = 16
_HIDDEN, _VISIBLE = 1, 2


class LedgerFile:
    """The file; opened when it is first used. Owned by one thread."""

    def __init__(self, path: Path, boot_id: str, cpus: int) -> None:
        """Use `path`, with room for `cpus` CPUs in each ledger; what is there of another boot is dropped."""
        self._path = path
        self._boot_id = boot_id.encode()
        self._half_size = _HALF.size + _WORD * (_FIXED + _PER_CPU * cpus)
        self._slot_size = _KEY_SIZE + 2 * self._half_size
        self._memory: mmap.mmap | None = None
        self._slots: dict[ContainerKey, int] = {}
        #: Slots of an earlier server, by key, and those that nobody uses.
        self._inherited: dict[bytes, int] = {}
        self._free: list[int] = []
        self._failed = False

    def load(self, key: ContainerKey) -> Ledger | None:
        """Return what an earlier server has shown of a container, None if it is new."""
        memory = self._open()
        slot = self._slot(key) if memory is not None else None
        if memory is None or slot is None:
            return None
        halves = [half for half in self._read_halves(memory, slot) if half is not None]
        return _decode(max(halves)[1]) if halves else None

    def save(self, key: ContainerKey, ledger: Ledger) -> None:
        """Keep what is about to be shown of a container."""
        memory = self._open()
        slot = self._slot(key) if memory is not None else None
        if memory is None or slot is None:
            return
        numbers = _encode(ledger)
        try:
            packed = struct.pack(f"={len(numbers)}q", *numbers)
        except struct.error:
            # Made of damaged counters: no other 64 bits of microseconds are ever reached.
            return
        if _HALF.size + len(packed) > self._half_size:
            self._fail("more CPUs than the machine was said to have")
            return
        # Sequence numbers need not be dense: the older half is the one to write over.
        offsets = (slot + _KEY_SIZE, slot + _KEY_SIZE + self._half_size)
        sequences = [_HALF.unpack_from(memory, offset)[0] % _SEQUENCE_END for offset in offsets]
        older = sequences[0] > sequences[1]
        header = _HALF.pack(max(sequences) + 1, len(numbers), zlib.crc32(packed))
        # One copy; if it is cut short the checksum tells.
        memory[offsets[older] : offsets[older] + _HALF.size + len(packed)] = header + packed

    def forget(self, key: ContainerKey) -> None:
        """Give up the slot of a container that has ended."""
        slot = self._slots.pop(key, None)
        if slot is not None and self._memory is not None:
            self._clear(self._memory, slot)
            self._free.append(slot)

    def _open(self) -> mmap.mmap | None:
        if self._memory is None and not self._failed:
            try:
                self._memory = self._map()
            except (OSError, ValueError) as error:
                self._fail(error)
        return self._memory

    def _map(self) -> mmap.mmap:
        header = _HEADER.pack(_MAGIC, self._boot_id, self._slot_size)
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.pread(fd, len(header), 0) != header:
                os.ftruncate(fd, 0)
                os.pwrite(fd, header, 0)
            size = os.fstat(fd).st_size
            slots = max(_SLOTS_AT_FIRST, (size - len(header)) // self._slot_size)
            os.ftruncate(fd, len(header) + slots * self._slot_size)
            memory = mmap.mmap(fd, 0)
        finally:
            os.close(fd)
        for slot in self._all_slots(len(memory)):
            key = memory[slot : slot + _KEY_SIZE]
            if any(key):
                self._inherited[key] = slot
            else:
                self._free.append(slot)
        return memory

    def _slot(self, key: ContainerKey) -> int | None:
        """Return where a container's slot begins; a new one is empty."""
        slot = self._slots.get(key)
        if slot is not None:
            return slot
        digest = _digest(key)
        slot = self._inherited.pop(digest, None)
        if slot is None:
            if not self._free and not self._grow():
                return None
            slot = self._free.pop()
            if self._memory is not None:
                self._memory[slot : slot + _KEY_SIZE] = digest
        self._slots[key] = slot
        return slot

    def _grow(self) -> bool:
        """Make more room: what an earlier server has left and nobody has asked for, or a larger file."""
        memory = self._memory
        if memory is None:
            return False
        size = len(memory)
        try:
            memory.resize(_HEADER.size + 2 * (size - _HEADER.size))
        except (OSError, ValueError, SystemError) as error:
            self._fail(error)
            return False
        self._free.extend(slot for slot in self._all_slots(len(memory)) if slot >= size)
        return True

    def _all_slots(self, size: int) -> Iterator[int]:
        yield from range(_HEADER.size, size - self._slot_size + 1, self._slot_size)

    def _read_halves(self, memory: mmap.mmap, slot: int) -> Iterator[tuple[int, Sequence[int]] | None]:
        for offset in (slot + _KEY_SIZE, slot + _KEY_SIZE + self._half_size):
            sequence, count, checksum = _HALF.unpack_from(memory, offset)
            packed = memory[offset + _HALF.size : offset + _HALF.size + _WORD * count]
            is_number = 0 < sequence < _SEQUENCE_END
            whole = is_number and len(packed) == _WORD * count and zlib.crc32(packed) == checksum
            yield (sequence, struct.unpack(f"={count}q", packed)) if whole else None

    def _clear(self, memory: mmap.mmap, slot: int) -> None:
        memory[slot : slot + self._slot_size] = bytes(self._slot_size)

    def _fail(self, why: object) -> None:
        _log.warning("CPU counters may go back when the server is replaced: %s: %s", self._path, why)
        self._failed = True
        if self._memory is not None:
            with contextlib.suppress(BufferError):
                self._memory.close()
        self._memory = None


def _digest(key: ContainerKey) -> bytes:
    return hashlib.blake2b(repr(key).encode(errors="surrogateescape"), digest_size=_KEY_SIZE).digest()


def _encode(ledger: Ledger) -> list[int]:
    """Write a ledger as numbers."""
    numbers = [ledger.uptime_usec, *ledger.unplaced, ledger.debt_usec, ledger.remainder, ledger.period_usec]
    nothing = CpuTimes(0, 0, 0)
    for cpu in ledger.times.keys() | ledger.hidden.keys() | ledger.used.keys():
        seen = ledger.times.get(cpu)
        kind = _VISIBLE if seen is not None else _HIDDEN if cpu in ledger.hidden else 0
        shown = seen or ledger.hidden.get(cpu, nothing)
        used = ledger.used.get(cpu)
        # An unused CPU and one that no counter is known of come to the same.
        numbers += (cpu, kind, shown.user_usec, shown.system_usec, shown.idle_usec, *(used or (0, 0)))
    return numbers


def _decode(numbers: Sequence[int]) -> Ledger | None:
    """Read what `_encode` wrote; None if it is nothing that it can have written."""
    if len(numbers) < _FIXED or (len(numbers) - _FIXED) % _PER_CPU:
        return None
    uptime_usec, user, system, debt, remainder, period = numbers[:_FIXED]
    times: dict[int, CpuTimes] = {}
    hidden: dict[int, CpuTimes] = {}
    used: dict[int, CpuTime] = {}
    cpus = [tuple(numbers[i : i + _PER_CPU]) for i in range(_FIXED, len(numbers), _PER_CPU)]
    for cpu, kind, shown_user, shown_system, idle, used_user, used_system in sorted(cpus):
        if kind:
            (times if kind == _VISIBLE else hidden)[cpu] = CpuTimes(shown_user, shown_system, idle)
        used[cpu] = CpuTime(used_user, used_system)
    return Ledger(uptime_usec, times, hidden, used, CpuTime(user, system), debt, remainder, period)
