"""The mount table of a container's process, read anew at each question: containers change theirs."""

import os
from collections.abc import Iterator, Mapping
from typing import Final

from pylxcfs.linux.mountinfo import Mount, parse_line
from pylxcfs.reattach.protocol import LONGEST_TABLE

_CHUNK: Final = 1 << 16


class RefusedError(Exception):
    """Why an order is not carried out, though nothing failed."""


class LiveTable:
    """Its lines. Raises RefusedError beyond what is read of a table, and OSError."""

    def __init__(self, process_fd: int) -> None:
        """Look below `process_fd`, a directory of /proc that the caller keeps open."""
        self._process_fd = process_fd

    def find(self, mount_id: bytes) -> Mount:
        """Return one mount; the table is read no further than to it."""
        start = mount_id + b" "
        for line in self._lines():
            if line.startswith(start) and (mount := parse_line(line)) is not None:
                return mount
        raise RefusedError("the container changed it in this moment")

    def rows(self) -> dict[int, bytes]:
        """Return all lines by their mounts' ids, not parsed yet."""
        rows = {}
        for line in self._lines():
            number, blank, _ = line.partition(b" ")
            if blank and number.isdigit():
                rows[int(number)] = line
        return rows

    def _lines(self) -> Iterator[bytes]:
        fd = os.open("mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._process_fd)
        try:
            size, rest = 0, b""
            while part := os.read(fd, _CHUNK):
                size += len(part)
                if size > LONGEST_TABLE:
                    raise RefusedError(f"its mount table is longer than {LONGEST_TABLE >> 20} MiB")
                *lines, rest = (rest + part).split(b"\n")
                yield from lines
        finally:
            os.close(fd)


def stack_of(seen: Mount, meant: frozenset[int], rows: Mapping[int, bytes]) -> dict[int, Mount]:
    """Return the mounts from the one that is seen down to the first that is none of those `meant`, by id."""
    under, stack = seen, {seen.mount_id: seen}
    while under.mount_id in meant:
        parent = parse_line(rows.get(under.parent_id, b""))
        if parent is None:
            break
        if parent.mount_id in stack:
            raise RefusedError("the container changed it in this moment")
        under = stack[parent.mount_id] = parent
    return stack


def mounted_below(target: str, stack: Mapping[int, Mount], rows: Mapping[int, bytes]) -> Iterator[Mount]:
    """Yield what is mounted in one of a stack's mounts, below the place that they are stacked on."""
    parents = {b"%d" % mount_id for mount_id in stack}
    for line in rows.values():
        mount = parse_line(line) if line.split(b" ", 2)[1] in parents else None
        if mount is not None and str(mount.mount_point).startswith(f"{target}/"):
            yield mount
