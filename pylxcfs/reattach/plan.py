"""What is to be done about which bind: all mount namespaces are looked at, and nothing is changed."""

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pylxcfs.config import DEFAULT_RUNTIME_DIR
from pylxcfs.containers.lookup import Lookup
from pylxcfs.fuse.mount_options import MountOptions
from pylxcfs.fuse.mounting import FILE_SYSTEM_TYPE
from pylxcfs.linux.mountinfo import Mount, parse_line
from pylxcfs.procfiles.binds import bindable
from pylxcfs.procfiles.table import VIRTUAL_FILES
from pylxcfs.reattach.detached import Detached
from pylxcfs.reattach.namespaces import MountTable, Namespace, each_namespace
from pylxcfs.reattach.protocol import LONGEST_TABLE, Answer, Job, Order, Verb, Word, is_place
from pylxcfs.reattach.reach import Reach
from pylxcfs.reattach.survey import MOST_PLACES, Bind, State, find_binds, find_fallbacks
from pylxcfs.reattach.worker_client import Worker

_FILES: Final = bindable(file.path for file in VIRTUAL_FILES)
#: What lxcfs, and a pylxcfs without ``-o fsname``, call their file system. A bind does not tell of which
#: mount point it is, so others' names are theirs: another pylxcfs with another name looks after its own.
_LEFT_BEHIND: Final = frozenset({"lxcfs", MountOptions().source})
#: errno of a mount whose server is gone.
STALE: Final = frozenset({errno.ENOTCONN, errno.ECONNABORTED})
_MARK: Final = f" - {FILE_SYSTEM_TYPE} ".encode()
#: Places at which a connection is asked whether it lives; one that answers is enough.
_ASKED_PLACES: Final = 3
#: Connections that are asked at one container's places: each may cost the time limit of one that hangs.
_MOST_CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Request:
    """Which binds an operator, or the daemon, means."""

    mount_point: Path
    runtime_dir: Path = DEFAULT_RUNTIME_DIR
    #: Only this container, by whatever `containers.lookup` finds it.
    container: str | None = None
    #: Only the container that this process is in.
    pid: int | None = None
    #: What the binds' file system is called (``-o fsname``); None: as the one on the mount point.
    source: str | None = None
    #: Also replace binds that another server answers for, lxcfs' included.
    take_over: bool = False
    #: Also take away binds called like ours whose server does not answer.
    take_hung: bool = False
    dry_run: bool = False
    proc_root: Path = Path("/proc")


@dataclass(frozen=True, slots=True)
class Plan:
    """One bind in one namespace and, if anything, the order for it."""

    namespace: Namespace
    target: str
    state: State
    order: Order | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """All mount namespaces, and the binds in those that are meant."""

    namespaces: list[Namespace] = field(default_factory=list)
    binds: list[tuple[Namespace, Bind]] = field(default_factory=list)
    #: Our files that the kernel's own are bound in the place of.
    fallbacks: list[tuple[Namespace, str]] = field(default_factory=list)
    #: What is beyond the bounds, and why.
    left_over: list[tuple[Namespace, str]] = field(default_factory=list)
    reach: Reach = field(default_factory=Reach)
    #: Length of each namespace's mount table, by its number: the work that it makes.
    lengths: dict[int, int] = field(default_factory=dict)


class _Wanted:
    """Which mounts are ours, or may have to become ours."""

    def __init__(self, request: Request, device: str, served: Mount | None) -> None:
        self._device = device
        self._mount_point = str(request.mount_point)
        self._source = request.source or (served.source if served else MountOptions().source)
        self._take_over = request.take_over
        self._elsewhere = _mounted_elsewhere(request)

    def is_ours(self, mount: Mount) -> bool:
        """Tell whether it is of our connection, is called like ours, or is to be taken over."""
        return mount.device == self._device or mount.source == self._source or self._take_over

    def __call__(self, mount: Mount) -> bool:
        """Tell also of files of a mount that is nowhere on the host any more, as lxcfs leaves them."""
        if mount.fs_type != FILE_SYSTEM_TYPE or mount.point == self._mount_point:
            # Whoever copies the host's mount table has its mount too; no container reads it.
            return False
        is_orphan = mount.source in _LEFT_BEHIND and mount.device not in self._elsewhere
        return self.is_ours(mount) or (is_orphan and is_place(mount.point))


def _mounted_elsewhere(request: Request) -> set[str]:
    """Return the connections that the host has mounted at other places: their binds are not orphans."""
    devices = set()
    for process in ("self", "1"):
        try:
            content = (request.proc_root / process / "mountinfo").read_bytes()
        except OSError:
            continue
        lines = (line for line in content.split(b"\n") if _MARK in line)
        mounts = filter(None, map(parse_line, lines))
        devices |= {mount.device for mount in mounts if mount.point != str(request.mount_point)}
    return devices


def make_plans(
    request: Request, worker: Worker, served: Mount | None, verb: Verb
) -> tuple[Survey, list[Namespace], list[Plan]]:
    """Look everywhere and decide; return also the namespaces that are meant, oldest first.

    Raises LookupError if a container was named in vain.
    """
    wanted = _Wanted(request, worker.device, served)
    survey = Survey()
    for namespace, table in each_namespace(request.proc_root):
        _look(survey, wanted, namespace, table)
    chosen = _choose(request, survey.namespaces)
    meant = {namespace.inode for namespace in chosen}
    binds = [(namespace, bind) for namespace, bind in survey.binds if namespace.inode in meant]
    states = _states(worker, binds)
    plans = [
        _plan_bind(request, namespace, bind, states, verb)
        for namespace, bind in sorted(binds, key=lambda found: _age(found[0]))
        if _concerns(wanted, bind, states)
    ]
    plans += (
        Plan(namespace, "", State.UNEXAMINED, reason=reason)
        for namespace, reason in survey.left_over
        if namespace.inode in meant
    )
    return survey, chosen, plans


def _look(survey: Survey, wanted: _Wanted, namespace: Namespace, table: MountTable) -> None:
    survey.namespaces.append(namespace)
    survey.lengths[namespace.inode] = len(table.content)
    survey.reach.add(namespace, table.content, is_whole=table.is_whole)
    if namespace.is_hosts:
        return
    if not table.is_whole:
        survey.left_over.append((namespace, f"its mount table is longer than {LONGEST_TABLE >> 20} MiB"))
    survey.fallbacks.extend((namespace, file) for file in find_fallbacks(table.content, _FILES))
    if _MARK not in table.content:
        return
    binds, more = find_binds(table.content, mark=_MARK, is_wanted=wanted)
    survey.binds.extend((namespace, each) for each in binds)
    if more:
        why = f"{more} places more than the {MOST_PLACES} that are examined in a container"
        survey.left_over.append((namespace, why))


def _concerns(wanted: _Wanted, bind: Bind, states: dict[str, State]) -> bool:
    """Tell whether a bind is ours, or a dead one of somebody who has left."""
    return any(wanted.is_ours(mount) for mount in bind.mounts) or (
        bind.seen is not None and states[bind.seen.device] is State.DEAD
    )


def _plan_bind(
    request: Request, namespace: Namespace, bind: Bind, states: dict[str, State], verb: Verb
) -> Plan:
    state = State.HIDDEN if bind.seen is None else states[bind.seen.device]
    replaced = {State.DEAD, *((State.OTHER, State.UNRESPONSIVE) if request.take_over else ())}
    if request.take_hung:
        replaced.add(State.UNRESPONSIVE)
    removed = {*replaced, State.ALIVE} if verb is Verb.DETACH else replaced
    # What is stacked below one that is replaced cannot be asked, being covered; nobody reads it either.
    ids = tuple(mount.mount_id for mount in bind.mounts if states[mount.device] in {*removed, State.HIDDEN})
    reason = ""
    if state is State.HIDDEN:
        # Nobody in there reads it, dead or alive; a mount over it is the container's own affair.
        reason = "something else is mounted over it"
    elif state is State.UNEXAMINED:
        reason = f"of more than {_MOST_CONNECTIONS} connections in this container"
    elif state is State.UNRESPONSIVE and state not in removed:
        reason = "its server does not answer"
    elif state in removed and not is_place(bind.target):
        reason = "not below /proc or the CPU directory"
    elif state in removed and verb is Verb.ATTACH and not bind.file:
        reason = "our whole tree, which is none of the kernel's files"
    elif state in removed:
        return Plan(namespace, bind.target, state, Order(verb, bind.target, bind.file, ids))
    return Plan(namespace, bind.target, state, reason=reason)


def plan_absent(
    found: Survey,
    chosen: Sequence[Namespace],
    plans: Sequence[Plan],
    detached: set[Detached],
    files: Sequence[str],
) -> list[Plan]:
    """Plan for what is not bound: detached, the kernel's in its place, `files` in the oldest namespace."""
    there = {(plan.namespace.inode, plan.target) for plan in plans}
    by_identity = {(namespace.inode, namespace.start_ticks): namespace for namespace in chosen}
    absent: dict[tuple[int, str], Plan] = {}
    for entry in sorted(detached):
        namespace = by_identity.get((entry.namespace, entry.start_ticks))
        if namespace is not None:
            order = Order(Verb.ATTACH, entry.target, entry.file)
            absent[namespace.inode, entry.target] = Plan(namespace, entry.target, State.MISSING, order)
    meant = {namespace.inode for namespace in chosen}
    for namespace, file in found.fallbacks:
        if namespace.inode in meant:
            order = Order(Verb.ATTACH, f"/{file}", file)
            plan = Plan(namespace, order.target, State.FALLBACK, order)
            absent.setdefault((namespace.inode, order.target), plan)
    if files:
        oldest = min(chosen, key=lambda namespace: namespace.start_ticks)
        for file in files:
            order = Order(Verb.ATTACH, f"/{file}", file)
            absent.setdefault((oldest.inode, order.target), Plan(oldest, order.target, State.NONE, order))
    return [plan for key, plan in absent.items() if key not in there]


def _choose(request: Request, namespaces: Iterable[Namespace]) -> list[Namespace]:
    """Return the namespaces that are meant, oldest first; LookupError if a container was named in vain."""
    chosen = [namespace for namespace in namespaces if not namespace.is_hosts]
    with Lookup(request.proc_root) as lookup:
        if request.pid is not None:
            chosen = lookup.of_process(request.pid, chosen)
        elif request.container is not None:
            chosen = lookup.choose(request.container, chosen)
    return sorted(chosen, key=_age)


def _age(namespace: Namespace) -> tuple[int, int]:
    return namespace.start_ticks, namespace.inode


def _states(worker: Worker, binds: Iterable[tuple[Namespace, Bind]]) -> dict[str, State]:
    """Find out which connections live: ours by its number, any other by asking once, from a child process."""
    states: dict[str, State] = {}
    places: dict[str, list[Job]] = {}
    asked: dict[int, set[str]] = {}
    for namespace, bind in binds:
        for mount in bind.mounts:
            states.setdefault(mount.device, State.ALIVE if mount.device == worker.device else State.HIDDEN)
        if bind.seen is None or bind.seen.device == worker.device:
            continue
        device, here = bind.seen.device, asked.setdefault(namespace.inode, set())
        if device in here or len(here) < _MOST_CONNECTIONS:
            here.add(device)
            order = Order(Verb.ASK, bind.target, bind.file, (bind.seen.mount_id,))
            places.setdefault(device, []).append(make_job(namespace, (), [order]))
        else:
            places.setdefault(device, [])
    states |= {device: State.UNEXAMINED for device, jobs in places.items() if not jobs}
    for attempt in range(_ASKED_PLACES):
        jobs = {
            device: here[attempt]
            for device, here in places.items()
            if states[device] is State.HIDDEN and attempt < len(here)
        }
        answers = worker.carry_out(list(jobs.values()))
        states.update({device: _state(answer) for device, (answer,) in zip(jobs, answers, strict=True)})
    return states


def _state(answer: Answer) -> State:
    if answer.word is Word.UNRESPONSIVE:
        return State.UNRESPONSIVE
    if answer.word is not Word.DONE:
        return State.HIDDEN
    return State.DEAD if answer.number in STALE else State.OTHER


def make_job(namespace: Namespace, own_peer_groups: tuple[int, ...], orders: Iterable[Order]) -> Job:
    """Return all orders for one namespace."""
    return Job(namespace.pid, namespace.start_ticks, namespace.inode, own_peer_groups, tuple(orders))
