"""One rule for which container an operator means: pylxcfsctl show, explain, reattach and detach share it."""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, Self, TypeVar

from pylxcfs.cgroup.types import ParseError
from pylxcfs.containers.name import BELOW, PREFIX, Name
from pylxcfs.containers.processes import PROCESS_GONE, HeldProcess, Processes
from pylxcfs.containers.runtime_state import (
    bundle_names,
    bundle_of_conmon,
    docker_directory,
    docker_names,
    storage_names,
)
from pylxcfs.linux.files import read_whole

#: What is read of one container's state, and of all containers' of containers/storage: 1 kB for each.
_MOST_BYTES: Final = 1 << 20
_MOST_STORAGE_BYTES: Final = 16 << 20
#: Where runtimes keep their state if not told otherwise.
_DOCKER: Final = "/var/lib/docker/containers/{id}/config.v2.json"
_BUNDLES: Final = (
    "/run/containers/storage/overlay-containers/{id}/userdata",
    "/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}",
    "/run/containerd/io.containerd.runtime.v2.task/default/{id}",
    "/run/containerd/io.containerd.runtime.v2.task/moby/{id}",
)
_STORAGE: Final = (
    "/var/lib/containers/storage/overlay-containers/containers.json",
    "/var/lib/containers/storage/overlay-containers/volatile-containers.json",
)
_HOST_INIT: Final = 1
#: PID_MAX_LIMIT (include/linux/threads.h) has so many.
_PID_DIGITS: Final = 7
#: So many of several containers are told.
_TOLD: Final = 5


class Candidate(Protocol):
    """A mount namespace, which belongs to one container."""

    @property
    def inode(self) -> int:
        """Its number."""

    @property
    def pid(self) -> int:
        """A process in it."""

    @property
    def name(self) -> Name:
        """What the cgroups of that process say."""


_C = TypeVar("_C", bound=Candidate)


class Lookup:
    """Finds containers by what an operator calls them. Reads the runtimes' state only where no id fits."""

    def __init__(self, proc_root: Path) -> None:
        """Look at processes below `proc_root`, and through them at the host's files."""
        self._proc_fd = os.open(proc_root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._processes = Processes(self._proc_fd)
        self._storage: dict[tuple[int, str], bytes] = {}
        #: Processes with the host's files, and their mount namespaces: we may be in a container that shares
        #: the host's pid namespace, or may not look at process 1.
        self._of_host: dict[int, int] = {}
        for pid in (os.getpid(), _HOST_INIT):
            with contextlib.suppress(*PROCESS_GONE, PermissionError):
                mounts = self._processes.namespace(pid, "mnt")
                if mounts not in self._of_host.values():
                    self._of_host[pid] = mounts

    def __enter__(self) -> Self:
        """Go on."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what is held."""
        os.close(self._proc_fd)

    def choose(self, word: str, candidates: Sequence[_C]) -> list[_C]:
        """Return all candidates of the container that is meant; raises LookupError for none or several.

        In this order: its id or cgroup, a name, a process of it, the beginning of its id.
        """
        best, chosen = _best(word, candidates, {})
        if best < BELOW:
            called = {each.name.identity: each for each in candidates}
            names = {identity: self.names(each) for identity, each in called.items()}
            best, chosen = _best(word, candidates, names)
        if best <= PREFIX and word.isascii() and word.isdigit() and len(word) <= _PID_DIGITS:
            with contextlib.suppress(LookupError):
                return self.of_process(int(word), candidates)
        identities = sorted({each.name.identity for each in chosen})
        if not identities:
            raise LookupError(f"no running container is called {word!r}")
        if len(identities) > 1:
            raise LookupError(f"several containers are called {word!r}: {', '.join(identities[:_TOLD])}")
        return chosen

    def of_process(self, pid: int, candidates: Sequence[_C]) -> list[_C]:
        """Return the candidate that a process is in; raises LookupError if it is in none, or not there."""
        try:
            with self._processes.hold(pid) as process:
                mounts = process.mount_namespace()
        except (*PROCESS_GONE, ParseError):
            raise LookupError(f"no such process: {pid}") from None
        chosen = [each for each in candidates if each.inode == mounts]
        if not chosen:
            raise LookupError(f"process {pid} is in no container")
        return chosen

    def names(self, candidate: Candidate) -> tuple[str, ...]:
        """Return what its runtime calls a container, in every form that it may be meant by."""
        if not candidate.name.has_hash:
            return ()
        container_id = candidate.name.container_id
        found: list[str] = []
        with contextlib.suppress(*PROCESS_GONE, PermissionError, ParseError):
            found += self._names_by_parent(candidate.pid, container_id)
        for pid in self._of_host:
            with contextlib.suppress(*PROCESS_GONE), self._processes.hold(pid) as host:
                for bundle in _BUNDLES:
                    found += _names_in_bundle(host, bundle.format(id=container_id), container_id)
                found += docker_names(_read(host, _DOCKER.format(id=container_id), _MOST_BYTES), container_id)
                for path in _STORAGE:
                    content = self._storage.get((pid, path))
                    if content is None:
                        content = self._storage[pid, path] = _read(host, path, _MOST_STORAGE_BYTES)
                    found += storage_names(content, container_id)
        return tuple(dict.fromkeys(found))

    def _names_by_parent(self, pid: int, container_id: str) -> list[str]:
        """Ask the process that started the container where its bundle is: runtimes may keep it anywhere.

        Not where that lives in a container: what is there is no word of this machine's runtimes.
        """
        with self._processes.hold(pid) as process:
            parent = process.parent()
        if not parent:
            return []
        with self._processes.hold(parent) as monitor:
            if monitor.namespace("mnt") not in self._of_host.values():
                return []
            # containerd's shim stands in the bundle of its first container, the others' are beside it.
            beside = os.path.dirname(monitor.link("cwd"))  # noqa: PTH120 - of another root
            bundles = [f"{beside}/{container_id}"]
            if bundle := bundle_of_conmon(monitor.read("cmdline", _MOST_BYTES)):
                bundles.append(bundle)
            found: list[str] = []
            for bundle in bundles:
                found += _names_in_bundle(monitor, bundle, container_id)
        return found


def _best(word: str, candidates: Iterable[_C], called: Mapping[str, Sequence[str]]) -> tuple[int, list[_C]]:
    """Return those that fit best, and how well."""
    fits = [(each.name.fits(word, called.get(each.name.identity, ())), each) for each in candidates]
    best = max((fit for fit, _ in fits), default=0)
    return best, [each for fit, each in fits if fit == best > 0]


def _names_in_bundle(process: HeldProcess, bundle: str, container_id: str) -> Iterator[str]:
    config = _read(process, f"{bundle}/config.json", _MOST_BYTES)
    yield from bundle_names(config)
    if directory := docker_directory(config, container_id):
        yield from docker_names(_read(process, f"{directory}/config.v2.json", _MOST_BYTES), container_id)


def _read(process: HeldProcess, path: str, most: int) -> bytes:
    """Read a file below a process's root; nothing where it is not there, no file, or longer than `most`."""
    try:
        fd = process.open(f"root{path}", os.O_NOFOLLOW | os.O_NONBLOCK)
    except (OSError, ValueError):
        return b""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return b""
        content = read_whole(fd, most + 1)
    except OSError:
        return b""
    finally:
        os.close(fd)
    return content if len(content) <= most else b""
