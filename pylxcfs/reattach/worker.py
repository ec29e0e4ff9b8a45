"""``main``: a process of its own that enters mount namespaces: setns(CLONE_NEWNS) needs one without threads.

For each container it forks once more, so that one in which something hangs costs no more than a time limit.
Inside, the container's files are untrusted: nothing of them is executed, imported or followed. A place is
found once without following links, checked, and from then on named by its descriptor.
"""

import contextlib
import errno
import os
import select
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from pylxcfs.containers.procpid import parse_start_ticks
from pylxcfs.linux import mountapi
from pylxcfs.linux.mountinfo import Mount, parse_mount_id
from pylxcfs.reattach.live_table import LiveTable, RefusedError, mounted_below, stack_of
from pylxcfs.reattach.protocol import (
    KERNEL_MOUNTS,
    Answer,
    Job,
    Order,
    Verb,
    Word,
    dump_answers,
    is_place,
    load_answers,
    load_jobs,
)

_CHUNK: Final = 1 << 16
#: How long one container may take; some milliseconds are usual.
_JOB_SECONDS: Final = 5.0
_MASK: Final = "tmpfs"
#: At one place. Each restart that was not healed leaves one.
_MOST_STACKED: Final = 64
#: File systems that a runtime has mounted below one directory of ours.
_MOST_MASKS: Final = 64


def main() -> None:
    """Carry out the jobs on standard input, one line of answers for each; see `worker_client`."""
    proc_fd, tree_fd, device = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    jobs = load_jobs(sys.stdin.read())
    # No import may look for files any more: in a container they would be the container's.
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    for job in jobs:
        sys.stdout.write(dump_answers(_answer_in_time(job, proc_fd, tree_fd, device)) + "\n")
        sys.stdout.flush()


def _answer_in_time(job: Job, proc_fd: int, tree_fd: int, device: str) -> list[Answer]:
    """Return an answer for each order; those that were not come to in time, or not at all, say so."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            for answer in _carry_out(job, proc_fd, tree_fd, device):
                os.write(writer, dump_answers([answer]).encode() + b"\n")
        finally:
            # Whatever happened, this process must not go on as the one that it was forked from.
            os._exit(0)
    os.close(writer)
    try:
        content, has_ended = _read_until(reader, time.monotonic() + _JOB_SECONDS)
    finally:
        os.close(reader)
    if has_ended:
        rest = Answer(Word.FAILED, "ended early")
        os.waitpid(child, 0)
    else:
        rest = Answer(
            Word.UNRESPONSIVE, f"not done within {_JOB_SECONDS:g} s: a file system on the way may hang"
        )
        # It may wait for a hanging server, which not even this ends; then it stays behind.
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, os.WNOHANG)
    # What follows the last line's end was cut off.
    answers = [answer for line in content.split(b"\n")[:-1] for answer in load_answers(line)]
    return answers + [rest] * (len(job.orders) - len(answers))


def _read_until(fd: int, end: float) -> tuple[bytes, bool]:
    """Read to the end of a pipe; return what came in time, and whether that was all."""
    parts: list[bytes] = []
    while select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(fd, _CHUNK)
        if not part:
            return b"".join(parts), True
        parts.append(part)
    return b"".join(parts), False


def _carry_out(job: Job, proc_fd: int, tree_fd: int, device: str) -> Iterator[Answer]:
    try:
        container = _Container(job, proc_fd, device)
        clones = {order: _clone(tree_fd, order.file) for order in job.orders if order.verb is Verb.ATTACH}
        container.enter(needs_namespace=any(order.verb is not Verb.ASK for order in job.orders))
    except OSError as error:
        answer = Answer(Word.GONE) if isinstance(error, FileNotFoundError) else _answer(error)
        yield from [answer] * len(job.orders)
        return
    for order in job.orders:
        yield container.carry_out(order, clones.get(order))


def _clone(tree_fd: int, file: str) -> int | OSError:
    """Return a detached bind of a file of ours, or why there is none: all else may go well."""
    try:
        clone = mountapi.clone_mount(tree_fd, file)
        mountapi.close_and_make_private(clone)
    except OSError as error:
        return error
    return clone


class _Container:
    """A mount namespace, and one of its processes whose names for places are used."""

    def __init__(self, job: Job, proc_fd: int, device: str) -> None:
        """Hold the process; ProcessLookupError if it is not the one that was meant."""
        self._own_peer_groups = frozenset(job.own_peer_groups)
        self._device = device
        self._proc_fd = proc_fd
        self._process = os.open(str(job.pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc_fd)
        self._namespace = os.open("ns/mnt", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._process)
        born = parse_start_ticks(_read(self._process, "stat"))
        if (born, os.fstat(self._namespace).st_ino) != (job.start_ticks, job.namespace):
            raise ProcessLookupError
        self._table = LiveTable(self._process)
        self._root = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._process)

    def enter(self, *, needs_namespace: bool) -> None:
        """Move into the namespace."""
        if needs_namespace:
            mountapi.enter_mount_namespace(self._namespace)
        # Descriptors are named through our own /proc, wherever the container has its.
        os.fchdir(self._proc_fd)

    def carry_out(self, order: Order, clone: int | OSError | None) -> Answer:
        """Carry out one order; never raises."""
        try:
            match order.verb:
                case Verb.ASK:
                    return self._ask(order)
                case Verb.DETACH:
                    return self._detach(order)
                case Verb.ATTACH:
                    return self._attach(order, _existing(clone))
        except RefusedError as refusal:
            return Answer(Word.LEFT, str(refusal))
        except OSError as error:
            return _answer(error)
        except Exception as error:  # noqa: BLE001 - a traceback would look for sources among the container's files
            return Answer(Word.FAILED, f"internal error: {error!r}")

    def _ask(self, order: Order) -> Answer:
        with self._found(order.target) as (fd, mount):
            if mount.mount_id not in order.mounts:
                raise RefusedError("something else is mounted over it")
            try:
                # The kernel does not even ask the server of a FUSE mount from another user namespace, and
                # reports success: what a container's own root mounts is never taken for dead.
                os.fstatvfs(fd)
            except OSError as error:
                return Answer(Word.DONE, number=error.errno or errno.EIO)
            return Answer(Word.DONE)

    def _attach(self, order: Order, clone: int) -> Answer:
        masks = self._check(order)
        if masks is None:
            return Answer(Word.ALREADY)
        locked = self._take_away(order)
        with self._found(order.target) as (fd, mount):
            if mount.device == self._device:
                # A dead one had been mounted over it.
                return Answer(Word.DONE)
            if mount.mount_id not in (order.mounts if locked else ()) and not _is_kernels(
                mount, order.target
            ):
                raise RefusedError("something else was mounted there in this moment")
            mountapi.attach(clone, fd)
        self._mask(order.target, masks)
        return Answer(Word.DONE, "on top of the old one, which is locked" if locked else "")

    def _detach(self, order: Order) -> Answer:
        masks = self._check(order)
        if masks is None:
            return Answer(Word.ALREADY)
        if self._take_away(order):
            raise OSError(errno.EPERM, "locked by a more privileged namespace")
        self._mask(order.target, masks)
        return Answer(Word.DONE)

    def _check(self, order: Order) -> tuple[str, ...] | None:
        """Return the masked paths below a place, or None where all is well; raises RefusedError.

        Nothing is changed before all that can be known has been looked at.
        """
        if not is_place(order.target):
            raise RefusedError("not below /proc or the CPU directory")
        rows = self._table.rows()
        meant = frozenset(order.mounts)
        left = any(mount_id in rows for mount_id in meant)
        with self._found(order.target) as (_, seen):
            stack = stack_of(seen, meant, rows)
            if order.verb is Verb.ATTACH and seen.device == self._device:
                return None
            if order.verb is Verb.DETACH and not left:
                return None
            if seen.mount_id not in meant and left:
                raise RefusedError("something else is mounted over it")
        under = tuple(stack.values())[-1]
        is_usable = under.device == self._device or _is_kernels(under, order.target)
        if order.verb is Verb.ATTACH and not is_usable:
            raise RefusedError(f"a {under.fs_type} is mounted there, not the kernel's file of that name")
        groups = {mount.shared for mount in stack.values()} - {None}
        if groups - self._own_peer_groups:
            raise RefusedError("mounts there are shared with the host or with another container")
        return _masks(mounted_below(order.target, stack, rows))

    def _take_away(self, order: Order) -> bool:
        """Unmount what may be taken away, from the top; return whether the kernel keeps the rest locked."""
        for _ in order.mounts[:_MOST_STACKED]:
            with self._found(order.target) as (fd, mount):
                if mount.mount_id not in order.mounts:
                    break
                try:
                    mountapi.unmount(f"self/fd/{fd}", mountapi.MNT_DETACH)
                except OSError as error:
                    if error.errno != errno.EINVAL:
                        raise
                    # The namespace was copied by a less privileged user, who may not look under it.
                    return True
        if len(order.mounts) > _MOST_STACKED:
            raise RefusedError(
                f"more than {_MOST_STACKED} mounts are stacked there; this many were taken away"
            )
        return False

    def _mask(self, target: str, paths: tuple[str, ...]) -> None:
        for path in paths:
            # Not there (any more): nothing to hide.
            with contextlib.suppress(FileNotFoundError), self._found(path) as (fd, mount):
                if mount.fs_type != _MASK and path.startswith(f"{target}/"):
                    mountapi.mount(_MASK, f"self/fd/{fd}", _MASK, mountapi.CLOSED, "size=0")

    @contextlib.contextmanager
    def _found(self, target: str) -> Iterator[tuple[int, Mount]]:
        """Open what is seen at a place, with the mount that it is in; raises RefusedError."""
        try:
            fd = mountapi.find(self._root, target.lstrip("/"))
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EXDEV}:
                raise RefusedError("a symbolic link is on the way") from error
            raise
        try:
            yield fd, self._mount_of(fd)
        finally:
            os.close(fd)

    def _mount_of(self, fd: int) -> Mount:
        """Return the mount that an open file is in."""
        mount_id = parse_mount_id(_read(self._proc_fd, f"self/fdinfo/{fd}"))
        if mount_id is not None:
            return self._table.find(mount_id)
        raise RefusedError("the container changed it in this moment")


def _masks(mounts: Iterable[Mount]) -> tuple[str, ...]:
    """Return where a read-only tmpfs hides something, as runtimes do; refuse others, and more than 64."""
    paths: list[str] = []
    for mount in mounts:
        if mount.fs_type != _MASK or "ro" not in mount.super_options.split(","):
            raise RefusedError(f"{mount.fs_type} is mounted in it, on {mount.mount_point}")
        if len(paths) == _MOST_MASKS:
            raise RefusedError(f"more than {_MOST_MASKS} file systems are mounted in it")
        paths.append(str(mount.mount_point))
    return tuple(paths)


def _is_kernels(mount: Mount, target: str) -> bool:
    """Tell whether `target` in `mount` is the kernel's own file of that name."""
    own = KERNEL_MOUNTS.get(mount.fs_type)
    path = PurePosixPath(target)
    if own is None or not path.is_relative_to(mount.mount_point):
        return False
    inside = PurePosixPath(mount.root) / path.relative_to(mount.mount_point)
    return path.is_relative_to(own) and inside == PurePosixPath("/") / path.relative_to(own)


def _read(directory_fd: int, name: str) -> bytes:
    fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory_fd)
    try:
        content = b""
        while part := os.read(fd, _CHUNK):
            content += part
        return content
    finally:
        os.close(fd)


def _existing(clone: int | OSError | None) -> int:
    if isinstance(clone, FileNotFoundError):
        raise RefusedError("pylxcfs does not serve it") from clone
    if isinstance(clone, OSError):
        raise clone
    return -1 if clone is None else clone


def _answer(error: OSError) -> Answer:
    if isinstance(error, ProcessLookupError):
        return Answer(Word.GONE)
    if isinstance(error, FileNotFoundError):
        return Answer(Word.LEFT, "there is no such file in the container")
    return Answer(Word.FAILED, error.strerror or repr(error))
