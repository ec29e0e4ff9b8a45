"""Which binds a container has, whether they are seen, and whom a change would reach. Pure."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pylxcfs.linux.mountinfo import Mount, parse_line, split_line
from pylxcfs.reattach.protocol import KERNEL_MOUNTS, LONGEST_PLACE, is_place

#: How many places one container may have examined and changed. Runtimes bind a dozen; a container that may
#: mount can make a hundred thousand (fs.mount-max).
MOST_PLACES: Final = 64
#: How mountinfo marks what has lost its name in its file system; a dead server's names all do in time.
_PROCFS: Final = b" - proc "
_SYSFS: Final = b" - sysfs "
_DELETED: Final = "//deleted"
#: The first words of a line of mountinfo.
_ID: Final = 0
_PARENT: Final = 1
_ROOT: Final = 3
_POINT: Final = 4
_WORDS: Final = 5


class State(StrEnum):
    """What is at a place in a container."""

    #: Our file, of the connection that is mounted now.
    ALIVE = "alive"
    #: A file whose server is gone: "Transport endpoint is not connected".
    DEAD = "dead"
    #: A file that another server answers for.
    OTHER = "other"
    #: A file whose server is there and does not answer.
    UNRESPONSIVE = "unresponsive"
    #: A file that is not seen: something else is mounted over it.
    HIDDEN = "hidden"
    #: Taken away by detach, and not planted since.
    MISSING = "missing"
    #: The kernel's own file.
    NONE = "none"
    #: The kernel's own file, bound upon itself: what a container is started with while nobody serves.
    FALLBACK = "fallback"
    #: Beyond what is done for one container.
    UNEXAMINED = "unexamined"


@dataclass(frozen=True, slots=True)
class Bind:
    """All that is bound from trees like ours on one place of one container."""

    target: str
    #: Below the root of our tree: of the mount that is seen, or else of the last one.
    file: str
    #: The mount that is seen; None if something else covers it.
    seen: Mount | None
    mounts: tuple[Mount, ...]


def find_binds(
    table: bytes, *, mark: bytes, is_wanted: Callable[[Mount], bool], most_places: int = MOST_PLACES
) -> tuple[list[Bind], int]:
    """Find the binds that `is_wanted` is true of, each place once; and count the places that are left out.

    Only lines that contain `mark` are asked about. `table` is a whole mountinfo file. The work grows with its
    length, whatever is mounted on what: each line is split once, and those that matter for one of the places
    are parsed. Left out are places with long names, and those beyond `most_places`: first come the files that
    are bound where the kernel has them, then other places for our files, then the rest.
    """
    lines = table.split(b"\n")
    places: dict[bytes, list[Mount]] = {}
    for line in lines:
        if mark in line and (mount := parse_line(line)) is not None and is_wanted(mount):
            places.setdefault(_point(line), []).append(mount)
    short = (point for point in places if len(point) <= LONGEST_PLACE)
    chosen = sorted(short, key=lambda point: _rank(places[point]))[:most_places]
    walk = _Walk(lines, chosen)
    binds = [_bind(places[point], walk.end(point)) for point in chosen]
    return binds, len(places) - len(binds)


def find_fallbacks(table: bytes, files: Iterable[str]) -> list[str]:
    """Return which of `files` (like ``proc/meminfo``) are bound upon themselves, from procfs or sysfs.

    A runtime does that whose source of the bind was a symbolic link to the kernel's own file.
    """
    found = []
    wanted = {f"/{file}".encode(): file for file in files}
    for line in table.split(b"\n"):
        if _PROCFS not in line and _SYSFS not in line:
            continue
        words = split_line(line)
        if words is None or words[0][_POINT] not in wanted:
            continue
        mounted_at = KERNEL_MOUNTS.get(words[1][0].decode(errors="replace"))
        if mounted_at is not None and words[0][_POINT] == mounted_at.encode() + words[0][_ROOT]:
            found.append(wanted.pop(words[0][_POINT]))
    return found


def _bind(here: Sequence[Mount], end: int) -> Bind:
    seen = next((mount for mount in here if mount.mount_id == end), None)
    return Bind(here[0].point, _file_of(seen or here[-1]), seen, tuple(here))


def _file_of(mount: Mount) -> str:
    return mount.root.removesuffix(_DELETED).strip("/")


def _rank(here: Sequence[Mount]) -> tuple[bool, bool]:
    target = here[0].point
    return target != f"/{_file_of(here[0])}", not is_place(target)


class _Walk:
    """Walks to places as the kernel does: at each step into what is mounted there, until nothing more is."""

    def __init__(self, lines: Sequence[bytes], points: Sequence[bytes]) -> None:
        """Keep the mounts that are on the way to one of `points`."""
        on_the_way = {prefix for point in points for prefix in _prefixes(point)}
        mounts = [
            words
            for line in lines
            if len(words := line.split(b" ", _WORDS)) > _WORDS and words[_POINT] in on_the_way
        ]
        listed = {words[_ID] for words in mounts}
        #: The mount in each mount at each place; no id stands for what is not listed: where a root is.
        self._children = {
            (words[_PARENT] if words[_PARENT] in listed else b"", words[_POINT]): words[_ID]
            for words in mounts
        }
        self._ends: dict[bytes, bytes] = {}

    def end(self, point: bytes) -> int:
        """Return the id of the mount that is seen at a place, -1 for one that is not listed."""
        current = b""
        for prefix in _prefixes(point):
            if prefix in self._ends:
                current = self._ends[prefix]
                continue
            # Nobody comes this way again.
            while (below := self._children.pop((current, prefix), None)) is not None:
                current = below
            self._ends[prefix] = current
        return int(current) if current.isdigit() else -1


def _point(line: bytes) -> bytes:
    """Return where the mount of a line is, as it is written there."""
    return line.split(b" ", _WORDS)[_POINT]


def _prefixes(point: bytes) -> Iterator[bytes]:
    """Yield a path's ancestors from the root, and itself."""
    yield b"/"
    end = point.find(b"/", 1)
    while end > 0:
        yield point[:end]
        end = point.find(b"/", end + 1)
    if len(point) > 1:
        yield point
