"""Kernel text → values. Pure; every error names the file and the words that made no sense.

A line that makes no sense costs itself, never the others; a file without any line that does is an error.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Final

from pylxcfs.cgroup.types import CpuMax, CpuSet, DeviceIo, DeviceNumber, Limit, ParseError

_MAX: Final = b"max"
#: What the kernel calls a disk without a device number.
_NAMELESS: Final = b"(unknown)"
_IO_KEYS: Final = frozenset(field.name.encode() for field in fields(DeviceIo))
#: No machine has more CPUs; a longer range is damage, not a list worth building (NR_CPUS_RANGE_END).
_CPU_NUMBER_END = 1 << 16
#: The kernel's numbers have 64 bits, with a sign or without.
_NUMBER_MIN: Final = -(1 << 63)
_NUMBER_END: Final = 1 << 64


def to_number(text: bytes) -> int:
    """Convert what the kernel can have written; raises ValueError."""
    number = int(text)
    if not _NUMBER_MIN <= number < _NUMBER_END:
        raise ValueError(text)
    return number


def _to_count(text: bytes) -> int:
    """Convert a number of things; raises ValueError."""
    count = int(text)
    if not 0 <= count < _NUMBER_END:
        raise ValueError(text)
    return count


def parse_int(path: str, text: bytes) -> int:
    """Parse a file that holds one decimal number; the kernel's rare negative statistics are allowed."""
    try:
        return to_number(text)
    except ValueError as error:
        raise ParseError(path, text) from error


def parse_limit(path: str, text: bytes) -> Limit:
    """Parse a number, or ``max`` for no limit (cgroup-v2.rst, "Conventions")."""
    word = text.strip()
    return None if word == _MAX else parse_int(path, word)


def parse_cpu_max(path: str, text: bytes) -> CpuMax | None:
    """Parse ``QUOTA PERIOD``, microseconds, with ``max`` for no limit (cgroup-v2.rst, "cpu.max")."""
    try:
        quota, period = text.split()
        limit = CpuMax(0 if quota == _MAX else to_number(quota), to_number(period))
    except ValueError as error:
        raise ParseError(path, text) from error
    if limit.period_usec <= 0 or limit.quota_usec < 0:
        raise ParseError(path, text)
    return limit if limit.quota_usec else None


def parse_flat_keyed(path: str, text: bytes) -> dict[bytes, int]:
    """Parse ``KEY VALUE`` lines (cgroup-v2.rst, "flat keyed"), e.g. memory.stat."""
    words = text.split()
    try:
        numbers = list(map(int, words[1::2]))
        fields = dict(zip(words[::2], numbers, strict=True))
    except ValueError:
        return _parse_keyed_lines(path, text)
    if numbers and not _NUMBER_MIN <= min(numbers) <= max(numbers) < _NUMBER_END:
        return _parse_keyed_lines(path, text)
    return fields


def _parse_keyed_lines(path: str, text: bytes) -> dict[bytes, int]:
    """Parse line by line what cannot be parsed as a whole, at a tenth of the speed."""
    fields: dict[bytes, int] = {}
    for line in text.split(b"\n"):
        with contextlib.suppress(ValueError):
            key, value = line.split()
            fields[key] = to_number(value)
    if not fields:
        raise ParseError(path, text)
    return fields


def parse_rows(path: str, text: bytes, width: int) -> list[tuple[int, ...]]:
    """Parse lines of `width` numbers each."""
    words = text.split()
    try:
        numbers = list(map(to_number, words))
        return list(zip(*(numbers[column::width] for column in range(width)), strict=True))
    except ValueError:
        pass
    rows: list[tuple[int, ...]] = []
    for line in text.split(b"\n"):
        with contextlib.suppress(ValueError):
            row = tuple(map(to_number, line.split()))
            if len(row) == width:
                rows.append(row)
    if not rows:
        raise ParseError(path, text)
    return rows


def to_ids(text: bytes) -> list[int]:
    """Convert a list of task ids, one on each line, as in cgroup.threads; raises ValueError if none is."""
    try:
        return list(map(int, text.split()))
    except ValueError:
        ids = [int(line) for line in text.split(b"\n") if line.isdigit()]
        if not ids:
            raise
        return ids


def parse_cpu_list(path: str, text: bytes) -> CpuSet:
    """Parse a CPU list such as ``0,2-3`` (cpuset(7), "List format"); empty text is the empty set."""
    cpus: list[int] = []
    try:
        for part in text.strip().split(b",") if text.strip() else ():
            first, dash, last = part.partition(b"-")
            start, end = int(first), int(last if dash else first)
            if not 0 <= start <= end < _CPU_NUMBER_END or len(cpus) > _CPU_NUMBER_END:
                raise ParseError(path, text)
            cpus.extend(range(start, end + 1))
    except ValueError as error:
        raise ParseError(path, text) from error
    return CpuSet(cpus)


def format_cpu_list(cpus: CpuSet) -> bytes:
    """Write a CPU list as the kernel does; the inverse of `parse_cpu_list`."""
    ranges: list[list[int]] = []
    for cpu in cpus:
        if ranges and ranges[-1][-1] == cpu - 1:
            ranges[-1] = [ranges[-1][0], cpu]
        else:
            ranges.append([cpu])
    return ",".join("-".join(map(str, bounds)) for bounds in ranges).encode()


def parse_device_operations(path: str, text: bytes) -> Mapping[DeviceNumber, Mapping[bytes, int]]:
    """Parse v1 blkio statistics: ``MAJ:MIN Operation value`` lines and a closing ``Total value``.

    Source: Documentation/admin-guide/cgroup-v1/blkio-controller.rst. A disk that has no number of its own, as
    a path of native NVMe multipath, is called ``(unknown)`` (bdi_dev_name() in mm/backing-dev.c).
    """
    devices: dict[DeviceNumber, dict[bytes, int]] = {}
    damaged = None
    for line in text.removesuffix(b"\n").split(b"\n") if text else ():
        words = line.split()
        try:
            if len(words) == 2 and words[0] == b"Total":  # noqa: PLR2004 - the grammar above
                continue
            device, operation, value = words
            if device == _NAMELESS:
                continue
            number = _to_device(device)
            devices.setdefault(number, {})[operation] = _to_count(value)
        except ValueError:
            damaged = line
    if damaged is not None and not devices:
        raise ParseError(path, damaged)
    return devices


def parse_io_stat(path: str, text: bytes) -> Mapping[DeviceNumber, DeviceIo]:
    """Parse io.stat: ``MAJ:MIN KEY=VALUE …`` (cgroup-v2.rst, "nested keyed").

    Keys of I/O controllers (``cost.usage`` …) may stand beside ours, and ours may be missing. Some kernels
    put a device without numbers on the line of the next one (blkcg_print_stat() in block/blk-cgroup.c). A
    device may be nameless here too.
    """
    devices: dict[DeviceNumber, DeviceIo] = {}
    damaged = None
    for line in text.split(b"\n"):
        for name, pairs in _split_devices(line.split()):
            if name == _NAMELESS:
                continue
            try:
                numbers = {key.decode(): _to_count(value) for key, value in pairs if key in _IO_KEYS}
                devices[_to_device(name)] = DeviceIo(**numbers)
            except ValueError:
                damaged = line
    if damaged is not None and not devices:
        raise ParseError(path, damaged)
    return devices


def _split_devices(words: Iterable[bytes]) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """Yield each device that a line of io.stat names, with the pairs behind it; b"" where none is named."""
    name, pairs = b"", list[tuple[bytes, bytes]]()
    for word in words:
        key, equals, value = word.partition(b"=")
        if equals:
            pairs.append((key, value))
            continue
        if name or pairs:
            yield name, pairs
        name, pairs = word, []
    if name or pairs:
        yield name, pairs


def _to_device(name: bytes) -> DeviceNumber:
    """Convert ``MAJ:MIN``; raises ValueError."""
    major, minor = name.split(b":")
    return DeviceNumber(_to_count(major), _to_count(minor))
