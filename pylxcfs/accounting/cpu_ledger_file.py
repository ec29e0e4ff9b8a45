"""CPU ledgers in shared memory, for the server after this one (docs/adr/0003-cpu-counters-as-a-ledger.md).

Every ledger that was shown is in the file before its reader has it, so that no counter goes back however
the server ends. Writing one is a few microseconds and no system call. Each has a slot with two halves,
written in turn: a server that dies in the middle of one leaves the other.

The file has a budget. A ledger that has no room is lost when the server is replaced: its container's counters
begin anew with what the kernel knows, and may go back. `LedgerFile.unkept` says how many there are.
"""

import hashlib
import mmap
import struct
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pylxcfs.accounting.cpu_ledger import CpuTimes, Ledger
from pylxcfs.accounting.slot_file import SlotFile
from pylxcfs.cgroup.types import ROOT, CgroupPath, CpuTime
from pylxcfs.containers.container import ContainerKey

_MAGIC: Final = b"pylxcfs ledgers 2\n"
#: Magic, boot id, size of a slot.
_HEADER: Final = struct.Struct("=18s38sq")
#: What the ledgers may take of the runtime directory. A container takes 0.6 kB on a machine with 2 CPUs, 8 kB
#: with 64, 58 kB with 512: enough for 500 containers on the largest machine.
BUDGET_BYTES: Final = 32 << 20
_LOSS: Final = "CPU counters may go back when the server is replaced"

#: Digest of the container's key, pid and start of its init, and how long the words are that follow.
_OWNER: Final = struct.Struct("=16sqqH")
#: For hierarchy and path of the cgroup.
_WORDS_SIZE: Final = 222
_OWNER_SIZE: Final = _OWNER.size + _WORDS_SIZE
#: Sequence number, when it was written (seconds of CLOCK_MONOTONIC), how many numbers follow, their checksum.
_HALF: Final = struct.Struct("=QQII")
#: No server writes so often.
_SEQUENCE_END: Final = 1 << 48
#: Numbers of a ledger, and of each of its CPUs.
_FIXED: Final = 6
_PER_CPU: Final = 7
_WORD: Final = 8
_HIDDEN, _VISIBLE = 1, 2


class Owner(NamedTuple):
    """Whose a ledger is, as far as it takes to see whether that container is still there."""

    init_pid: int
    init_start_ticks: int
    #: One of its cgroups; empty where none has a path that is short enough.
    hierarchy: str
    path: CgroupPath


class LedgerFile:
    """The file; opened when it is first used. Owned by one thread.

    A container of this server has *claimed* its slot. Others are those of an earlier server and of containers
    that this one has let go: they are kept until their owner has ended, or their slot is needed.
    """

    def __init__(self, path: Path, boot_id: str, cpus: int, budget_bytes: int = BUDGET_BYTES) -> None:
        """Use `path`, with room for `cpus` CPUs in each ledger; what is there of another boot is dropped."""
        self._half_size = _HALF.size + _WORD * (_FIXED + _PER_CPU * cpus)
        slot_size = _OWNER_SIZE + 2 * self._half_size
        header = _HEADER.pack(_MAGIC, boot_id.encode(), slot_size)
        self._file = SlotFile(path, header, slot_size, budget_bytes, _LOSS)
        self._claimed: dict[ContainerKey, int] = {}
        #: By the digest of their key, the one written longest ago first; None until the file is read.
        self._unclaimed: OrderedDict[bytes, int] | None = None
        #: Those of them whose owner is to be looked at next.
        self._unchecked: OrderedDict[bytes, None] = OrderedDict()
        self._unkept: set[ContainerKey] = set()

    @property
    def held_bytes(self) -> int:
        """How much of the runtime directory the ledgers take; safe in every thread."""
        return self._file.held_bytes

    @property
    def unkept(self) -> int:
        """How many containers that are read have no room in the file; safe in every thread."""
        return len(self._unkept)

    def load(self, key: ContainerKey) -> Ledger | None:
        """Return what was shown of a container before it was known to this server, None if it is new."""
        memory = self._file.open()
        slot = None if memory is None else self._claim(key, memory)
        if memory is None or slot is None:
            return None
        halves = [half for half in self._read_halves(memory, slot) if half is not None]
        return _decode(max(halves)[1]) if halves else None

    def save(self, key: ContainerKey, ledger: Ledger) -> None:
        """Keep what is about to be shown of a container, where there is room."""
        memory = self._file.open()
        slot = self._claimed.get(key)
        if slot is None:
            slot = None if memory is None else self._claim(key, memory)
        if memory is None or slot is None:
            self._unkept.add(key)
            return
        numbers = _encode(ledger)
        try:
            packed = struct.pack(f"={len(numbers)}q", *numbers)
        except struct.error:
            # Made of damaged counters: no other 64 bits of microseconds are ever reached.
            return
        if _HALF.size + len(packed) > self._half_size:
            # More CPUs than the machine was said to have. What was kept before is older than what is shown.
            del self._claimed[key]
            self._file.give_back(slot)
            self._unkept.add(key)
            return
        # Sequence numbers need not be dense: the older half is the one to write over.
        offsets = (slot + _OWNER_SIZE, slot + _OWNER_SIZE + self._half_size)
        sequences = [_HALF.unpack_from(memory, offset)[0] % _SEQUENCE_END for offset in offsets]
        older = sequences[0] > sequences[1]
        now = int(time.monotonic())
        header = _HALF.pack(max(sequences) + 1, now, len(numbers), zlib.crc32(packed))
        # One copy; if it is cut short the checksum tells.
        memory[offsets[older] : offsets[older] + _HALF.size + len(packed)] = header + packed

    def release(self, key: ContainerKey) -> None:
        """Let go of a container: its ledger stays while it lives and nobody needs the room."""
        self._unkept.discard(key)
        slot = self._claimed.pop(key, None)
        if slot is not None and self._unclaimed is not None:
            digest = _digest(key)
            self._unclaimed[digest] = slot
            self._unchecked[digest] = None
            self._unchecked.move_to_end(digest, last=False)

    def drop_ended(self, lives: Callable[[Owner], bool], most: int) -> None:
        """Give back the slots of containers that have ended; looks at no more than `most` of them."""
        memory = self._file.open() if self._file.is_there() else None
        if memory is None:
            return
        unclaimed = self._read_unclaimed(memory)
        if not self._unchecked:
            self._unchecked.update(dict.fromkeys(unclaimed))
        for _ in range(min(most, len(self._unchecked))):
            digest, _ = self._unchecked.popitem(last=False)
            slot = unclaimed.get(digest)
            if slot is None:
                continue
            owner = _read_owner(memory, slot)
            if owner is None or not lives(owner):
                del unclaimed[digest]
                self._file.give_back(slot)

    def _claim(self, key: ContainerKey, memory: mmap.mmap) -> int | None:
        """Return where a container's slot begins, a new one if it has none; None if there is no room."""
        slot = self._claimed.get(key)
        if slot is not None:
            return slot
        unclaimed = self._read_unclaimed(memory)
        digest = _digest(key)
        slot = unclaimed.pop(digest, None)
        if slot is None:
            slot = self._file.take()
            if slot is None and unclaimed:
                # The one that nobody has asked for for longest.
                self._file.give_back(unclaimed.popitem(last=False)[1])
                slot = self._file.take()
            if slot is None:
                return None
            _write_owner(memory, slot, digest, key)
        self._claimed[key] = slot
        self._unkept.discard(key)
        return slot

    def _read_unclaimed(self, memory: mmap.mmap) -> OrderedDict[bytes, int]:
        """Find the slots of an earlier server when they are first needed."""
        if self._unclaimed is None:
            found = [
                (self._written_at(memory, slot), memory[slot : slot + 16], slot) for slot in self._file.used()
            ]
            self._unclaimed = OrderedDict()
            for _, digest, slot in sorted(found):
                double = self._unclaimed.pop(digest, None)
                if double is not None:
                    self._file.give_back(double)
                self._unclaimed[digest] = slot
        return self._unclaimed

    def _written_at(self, memory: mmap.mmap, slot: int) -> int:
        """Return when a slot was written last, as far as it says so."""
        offsets = (slot + _OWNER_SIZE, slot + _OWNER_SIZE + self._half_size)
        return max(int(_HALF.unpack_from(memory, offset)[1]) for offset in offsets)

    def _read_halves(self, memory: mmap.mmap, slot: int) -> Iterator[tuple[int, Sequence[int]] | None]:
        for offset in (slot + _OWNER_SIZE, slot + _OWNER_SIZE + self._half_size):
            sequence, _, count, checksum = _HALF.unpack_from(memory, offset)
            packed = memory[offset + _HALF.size : offset + _HALF.size + _WORD * count]
            is_number = 0 < sequence < _SEQUENCE_END
            whole = is_number and len(packed) == _WORD * count and zlib.crc32(packed) == checksum
            yield (sequence, struct.unpack(f"={count}q", packed)) if whole else None


def _digest(key: ContainerKey) -> bytes:
    return hashlib.blake2b(repr(key).encode(errors="surrogateescape"), digest_size=16).digest()


def _write_owner(memory: mmap.mmap, slot: int, digest: bytes, key: ContainerKey) -> None:
    words = b""
    for hierarchy, path in key.paths:
        these = f"{hierarchy}\0{path}".encode(errors="surrogateescape")
        # The deepest says most.
        if path != ROOT and len(words) < len(these) <= _WORDS_SIZE:
            words = these
    owner = _OWNER.pack(digest, key.init_pid, key.init_start_ticks, len(words)) + words
    memory[slot : slot + len(owner)] = owner


def _read_owner(memory: mmap.mmap, slot: int) -> Owner | None:
    """Return whose a slot is; None if that is nothing that `_write_owner` can have written."""
    _, init_pid, init_start_ticks, length = _OWNER.unpack_from(memory, slot)
    if length > _WORDS_SIZE or init_pid <= 0:
        return None
    words = memory[slot + _OWNER.size : slot + _OWNER.size + length].decode(errors="surrogateescape")
    hierarchy, _, path = words.partition("\0")
    return Owner(init_pid, init_start_ticks, hierarchy, CgroupPath(path))


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
