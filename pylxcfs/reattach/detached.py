"""Which binds were taken away, in a small file, for the reattach that attaches them again."""

import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from pylxcfs.errors import StartupError
from pylxcfs.rundir.files import make_state_directory, read_file, replace_file

_LOG: Final = logging.getLogger(__name__)
_VERSION: Final = 1
#: Enough for 20,000 binds with ordinary names.
_BUDGET_BYTES: Final = 2 << 20
#: What is around them.
_FRAME_BYTES: Final = 256
_SEPARATOR: Final = ", "


class Detached(NamedTuple):
    """One bind that a container has had. Namespaces' numbers are reused, but not with the same start."""

    namespace: int
    start_ticks: int
    target: str
    file: str


class DetachedFile:
    """Where detached binds are kept, until the next boot."""

    def __init__(self, directory: Path, boot_id: str) -> None:
        """Keep them in `directory`, which need not exist yet."""
        self._path = directory / "binds.json"
        self._boot_id = boot_id

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let nobody else attach or detach meanwhile; raises StartupError where that cannot be had."""
        make_state_directory(self._path.parent)
        try:
            # The directory itself: a file for it would need room on a full file system.
            fd = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise StartupError(f"cannot use {self._path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def save(self, detached: Iterable[Detached]) -> None:
        """Replace the file as a whole; what cannot be kept is logged: the next start will not attach it."""
        kept, lost = _within(detached, _BUDGET_BYTES)
        if lost:
            _LOG.warning("%d detached binds more than there is room for will not be attached again", lost)
        text = json.dumps({"version": _VERSION, "boot_id": self._boot_id, "detached": kept})
        try:
            replace_file(self._path, text.encode(), most=_BUDGET_BYTES + _FRAME_BYTES)
        except OSError as error:
            _LOG.warning("detached binds will not be attached by the next start: %s", error)

    def load(self) -> set[Detached]:
        """Return what was saved since the last boot; nothing where that cannot be told for certain."""
        try:
            content = json.loads(read_file(self._path, _BUDGET_BYTES + _FRAME_BYTES))
            if (content["version"], content["boot_id"]) != (_VERSION, self._boot_id):
                return set()
            return set(map(_parse, content["detached"]))
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            _LOG.warning("ignoring the detached binds in %s: %r", self._path, error)
            return set()


def _within(detached: Iterable[Detached], most_bytes: int) -> tuple[list[Detached], int]:
    """Return what has room, each namespace having its turns, and how many have none."""
    by_namespace: dict[tuple[int, int], list[Detached]] = {}
    for entry in sorted(detached):
        by_namespace.setdefault(entry[:2], []).append(entry)
    turns = [(turn, entry) for entries in by_namespace.values() for turn, entry in enumerate(entries)]
    kept = []
    size = 0
    for _, entry in sorted(turns):
        size += len(json.dumps(entry)) + len(_SEPARATOR)
        if size > most_bytes:
            break
        kept.append(entry)
    return sorted(kept), len(turns) - len(kept)


def _parse(entry: Any) -> Detached:  # noqa: ANN401 - JSON
    namespace, start_ticks, target, file = entry
    if not (isinstance(target, str) and isinstance(file, str)):
        raise TypeError(entry)
    return Detached(int(namespace), int(start_ticks), target, file)
