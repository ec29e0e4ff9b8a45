"""A process of its own that enters mount namespaces: setns(CLONE_NEWNS) needs one without threads.

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
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from pylxcfs.containers.procpid import parse_start_ticks
from pylxcfs.linux import mountapi
from pylxcfs.linux.mountinfo import Mount, parse_mountinfo
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


class _RefusedError(Exception):
    """Why an order is not carried out, though nothing failed."""


def main() -> None:
    """Carry out the jobs on standard input, one line of answers for each; see `planting`."""
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
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            os.write(writer, dump_answers(_carry_out(job, proc_fd, tree_fd, device)).encode())
        finally:
            # Whatever happened, this process must not go on as the one that it was forked from.
            os._exit(0)
    os.close(writer)
    try:
        content = _read_until(reader, time.monotonic() + _JOB_SECONDS)
    finally:
        os.close(reader)
    if content is None:
        # It may wait for a hanging server, which not even this ends; then it stays behind.
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, os.WNOHANG)
        return [Answer(Word.SILENT, "a file system on the way does not answer")] * len(job.orders)
    os.waitpid(child, 0)
    return load_answers(content) if content else [Answer(Word.FAILED, "ended early")] * len(job.orders)


def _read_until(fd: int, end: float) -> bytes | None:
    """Read to the end of a pipe; None if that is not reached in time."""
    content = b""
    while select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
        part = os.read(fd, _CHUNK)
        if not part:
            return content
        content += part
    return None


def _carry_out(job: Job, proc_fd: int, tree_fd: int, device: str) -> list[Answer]:
    try:
        container = _Container(job, proc_fd, device)
        clones = {order: _clone(tree_fd, order.file) for order in job.orders if order.verb is Verb.PLANT}
        container.enter(needs_namespace=any(order.verb is not Verb.ASK for order in job.orders))
    except FileNotFoundError:
        return [Answer(Word.GONE)] * len(job.orders)
    except OSError as error:
        return [_answer(error)] * len(job.orders)
    return [container.carry_out(order, clones.get(order)) for order in job.orders]


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
                case Verb.PLANT:
                    return self._plant(order, _existing(clone))
        except _RefusedError as refusal:
            return Answer(Word.LEFT, str(refusal))
        except OSError as error:
            return _answer(error)
        except Exception as error:  # noqa: BLE001 - a traceback would look for sources among the container's files
            return Answer(Word.FAILED, f"internal error: {error!r}")

    def _ask(self, order: Order) -> Answer:
        with self._found(order.target) as (fd, mount):
            if mount.mount_id not in order.mounts:
                raise _RefusedError("something else is mounted over it")
            try:
                # The kernel does not even ask the server of a FUSE mount from another user namespace, and
                # reports success: what a container's own root mounts is never taken for dead.
                os.fstatvfs(fd)
            except OSError as error:
                return Answer(Word.DONE, number=error.errno or errno.EIO)
            return Answer(Word.DONE)

    def _plant(self, order: Order, clone: int) -> Answer:
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
                raise _RefusedError("something else was mounted there in this moment")
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
        """Return the masked paths below a place, or None where all is well; raises _RefusedError.

        Nothing is changed before all that can be known has been looked at.
        """
        if not is_place(order.target):
            raise _RefusedError("not below /proc or the CPU directory")
        mounts = self._mounts()
        with self._found(order.target) as (_, seen):
            under = seen
            stack = {under.mount_id}
            while under.mount_id in order.mounts and under.parent_id in mounts:
                under = mounts[under.parent_id]
                stack.add(under.mount_id)
            if order.verb is Verb.PLANT and seen.device == self._device:
                return None
            if order.verb is Verb.DETACH and not mounts.keys() & set(order.mounts):
                return None
            if seen.mount_id not in order.mounts and mounts.keys() & set(order.mounts):
                raise _RefusedError("something else is mounted over it")
        if order.verb is Verb.PLANT and under.device != self._device and not _is_kernels(under, order.target):
            raise _RefusedError(f"a {under.fs_type} is mounted there, not the kernel's file of that name")
        groups = {mounts[mount_id].shared for mount_id in stack if mount_id in mounts} - {None}
        if groups - self._own_peer_groups:
            raise _RefusedError("mounts there are shared with the host or with another container")
        return tuple(self._masks(order.target, stack, mounts))

    def _take_away(self, order: Order) -> bool:
        """Unmount what may be taken away, from the top; return whether the kernel keeps the rest locked."""
        for _ in order.mounts:
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
        return False

    def _masks(self, target: str, stack: set[int], mounts: dict[int, Mount]) -> Iterator[str]:
        """Yield what is hidden below a place by a read-only tmpfs, as runtimes do; refuse any other mount."""
        for mount in mounts.values():
            path = str(mount.mount_point)
            if mount.parent_id not in stack or not path.startswith(f"{target}/"):
                continue
            if mount.fs_type != _MASK or "ro" not in mount.super_options.split(","):
                raise _RefusedError(f"{mount.fs_type} is mounted in it, on {path}")
            yield path

    def _mask(self, target: str, paths: tuple[str, ...]) -> None:
        for path in paths:
            # Not there (any more): nothing to hide.
            with contextlib.suppress(FileNotFoundError), self._found(path) as (fd, mount):
                if mount.fs_type != _MASK and path.startswith(f"{target}/"):
                    mountapi.mount(_MASK, f"self/fd/{fd}", _MASK, mountapi.CLOSED, "size=0")

    @contextlib.contextmanager
    def _found(self, target: str) -> Iterator[tuple[int, Mount]]:
        """Open what is seen at a place, with the mount that it is in; raises _RefusedError."""
        try:
            fd = mountapi.find(self._root, target.lstrip("/"))
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.EXDEV}:
                raise _RefusedError("a symbolic link is on the way") from error
            raise
        try:
            yield fd, self._mount_of(fd)
        finally:
            os.close(fd)

    def _mount_of(self, fd: int) -> Mount:
        """Return the mount that an open file is in."""
        for line in _read(self._proc_fd, f"self/fdinfo/{fd}").split(b"\n"):
            if line.startswith(b"mnt_id:"):
                start = line.split()[1] + b" "
                # Parsing one line of hundreds is most of what can be saved here.
                for mount in _read(self._process, "mountinfo").split(b"\n"):
                    if mount.startswith(start):
                        return parse_mountinfo(mount)[0]
        raise _RefusedError("the container changed it in this moment")

    def _mounts(self) -> dict[int, Mount]:
        """Read the mount table as the container's process sees it now."""
        return {mount.mount_id: mount for mount in parse_mountinfo(_read(self._process, "mountinfo"))}


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
        raise _RefusedError("pylxcfs does not serve it") from clone
    if isinstance(clone, OSError):
        raise clone
    return -1 if clone is None else clone


def _answer(error: OSError) -> Answer:
    if isinstance(error, ProcessLookupError):
        return Answer(Word.GONE)
    if isinstance(error, FileNotFoundError):
        return Answer(Word.LEFT, "there is no such file in the container")
    return Answer(Word.FAILED, error.strerror or repr(error))
