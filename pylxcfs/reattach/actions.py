"""Plants our files anew in running containers, and takes them away again."""

import errno
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from pylxcfs.config import DEFAULT_RUNTIME_DIR
from pylxcfs.containers.name import Name
from pylxcfs.errors import StartupError
from pylxcfs.fuse.connection import FILE_SYSTEM_TYPE, MountOptions, ask, mount_at
from pylxcfs.linux.files import read_boot_id
from pylxcfs.linux.mountapi import can_close_mounts
from pylxcfs.linux.mountinfo import Mount, parse_mountinfo
from pylxcfs.reattach.detached import Detached, DetachedFile
from pylxcfs.reattach.namespaces import Namespace, list_namespaces
from pylxcfs.reattach.protocol import Answer, Job, Order, Verb, Word, is_place
from pylxcfs.reattach.survey import Bind, Reach, State, find_binds
from pylxcfs.reattach.worker_client import Planter

_STALE: Final = frozenset({errno.ENOTCONN, errno.ECONNABORTED})
_MARK: Final = f" - {FILE_SYSTEM_TYPE} ".encode()
#: Places at which a connection is asked whether it lives; one that answers is enough.
_ASKED_PLACES: Final = 3


@dataclass(frozen=True, slots=True)
class Request:
    """Which binds an operator, or the daemon, means."""

    mount_point: Path
    runtime_dir: Path = DEFAULT_RUNTIME_DIR
    #: Only this container: the beginning of its id, or its cgroup's own name.
    container: str | None = None
    #: What the binds' file system is called (``-o fsname``); None: as the one on the mount point.
    source: str | None = None
    #: Also replace binds that another server answers for, lxcfs' included.
    take_over: bool = False
    dry_run: bool = False
    proc_root: Path = Path("/proc")


class Action(StrEnum):
    """What was done about a bind."""

    NOTHING = "nothing"
    PLANTED = "planted"
    DETACHED = "detached"
    WOULD_PLANT = "would plant"
    WOULD_DETACH = "would detach"
    #: Not ours to change; the reason says why.
    LEFT = "left alone"
    #: The container ended meanwhile.
    GONE = "gone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One bind, and what was done about it."""

    container: Name
    pid: int
    #: In the container.
    target: str
    state: State
    action: Action
    reason: str = ""

    @property
    def where(self) -> str:
        """The container, as an operator knows it."""
        return self.container.short or f"pid {self.pid} {self.container.cgroup}"

    @property
    def is_trouble(self) -> bool:
        """Whether readers in the container still get an error, or what was asked for failed."""
        return self.action is Action.FAILED or (
            self.action is Action.LEFT and self.state in {State.DEAD, State.SILENT} and is_place(self.target)
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """One bind in one namespace and, if anything, the order for it."""

    namespace: Namespace
    target: str
    state: State
    order: Order | None = None
    reason: str = ""


def summary(outcomes: Sequence[Outcome]) -> str:
    """Count containers, binds, and what was done about them."""
    counts = Counter(outcome.action for outcome in outcomes)
    containers = len({(outcome.container, outcome.pid) for outcome in outcomes})
    done = [f"{count} {action}" for action, count in counts.items() if action is not Action.NOTHING]
    return f"{containers} containers, {len(outcomes)} binds: {', '.join(done) or 'nothing to do'}"


def reattach(request: Request, files: Sequence[str] = ()) -> list[Outcome]:
    """Plant dead and detached binds anew, and in the container named all `files` that it has none of.

    The tree on the mount point must be served by another thread or process: it is asked for its files.
    Raises StartupError if it is not, or the kernel is older than Linux 5.12; LookupError for an unknown
    container.
    """
    with _tree(request) as (planter, served):
        if served is None or planter.tree_fd < 0:
            raise StartupError(f"nothing of pylxcfs is mounted on {request.mount_point}")
        return _run(request, planter, served, files, Verb.PLANT)


def detach(request: Request) -> list[Outcome]:
    """Take our binds out of containers, alive or dead, so that they read the kernel's files again.

    They are remembered for the next `reattach`. Asks no server of ours, so works while one hangs.
    """
    with _tree(request) as (planter, served):
        return _run(request, planter, served, (), Verb.DETACH)


def survey(request: Request) -> list[Outcome]:
    """Tell of all our binds; change nothing, wait for nobody who does, ask no server of ours.

    Binds of what is mounted now are called alive by its number alone.
    """
    with _tree(request) as (planter, served):
        chosen = _choose(request, list_namespaces(request.proc_root))
        return [_foresee(plan) for plan in _plan(request, planter, served, chosen, Verb.DETACH)]


@contextmanager
def _tree(request: Request) -> Iterator[tuple[Planter, Mount | None]]:
    """Hold the root of the tree on the mount point, if one is mounted there, dead or alive."""
    try:
        # O_PATH: no server is asked.
        fd = os.open(request.mount_point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield Planter(request.proc_root), None
        return
    try:
        served = mount_at(Path(f"/proc/self/fd/{fd}").readlink())
        if served is None or served.fs_type != FILE_SYSTEM_TYPE:
            yield Planter(request.proc_root), None
        else:
            yield Planter(request.proc_root, fd, served.device), served
    finally:
        os.close(fd)


def _run(
    request: Request, planter: Planter, served: Mount | None, files: Sequence[str], verb: Verb
) -> list[Outcome]:
    if verb is Verb.PLANT:
        _check_served(request)
    kept = DetachedFile(request.runtime_dir / "pylxcfs", read_boot_id(request.proc_root))
    with kept.locked():
        namespaces = list_namespaces(request.proc_root)
        detached = kept.load()
        chosen = _choose(request, namespaces)
        plans = _plan(request, planter, served, chosen, verb)
        if verb is Verb.PLANT:
            plans += _plan_absent(chosen, plans, detached, files)
        if request.dry_run:
            return [_foresee(plan) for plan in plans]
        answers = _carry_out(planter, plans, Reach(namespaces))
        alive = {(namespace.inode, namespace.start_ticks) for namespace in namespaces}
        kept.save(_remember((entry for entry in detached if entry[:2] in alive), plans, answers))
    return [_outcome(plan, answer) for plan, answer in zip(plans, answers, strict=True)]


def _check_served(request: Request) -> None:
    """Raise StartupError unless the kernel can plant, and the tree that binds are made of answers."""
    if not can_close_mounts():
        raise StartupError("planting binds in running containers needs Linux 5.12 (mount_setattr)")
    number = ask(request.mount_point)
    if number is None:
        raise StartupError(f"the server of {request.mount_point} does not answer")
    if number:
        raise StartupError(f"{request.mount_point}: {os.strerror(number)}")


def _plan(
    request: Request, planter: Planter, served: Mount | None, chosen: Sequence[Namespace], verb: Verb
) -> list[_Plan]:
    source = request.source or (served.source if served else MountOptions().source)

    def is_wanted(mount: Mount) -> bool:
        return mount.fs_type == FILE_SYSTEM_TYPE and (
            mount.device == planter.device or mount.source == source or request.take_over
        )

    binds = [
        (namespace, bind)
        for namespace in chosen
        if _MARK in namespace.mountinfo
        for bind in find_binds(parse_mountinfo(namespace.mountinfo), is_wanted=is_wanted)
        # Whoever copies the host's mount table has this too; no container reads it.
        if bind.target != str(request.mount_point)
    ]
    states = _states(planter, binds)
    return [_plan_bind(request, namespace, bind, states, verb) for namespace, bind in binds]


def _plan_bind(
    request: Request, namespace: Namespace, bind: Bind, states: dict[str, State], verb: Verb
) -> _Plan:
    state = State.HIDDEN if bind.seen is None else states[bind.seen.device]
    replaced = {State.DEAD, *((State.OTHER, State.SILENT) if request.take_over else ())}
    removed = {*replaced, State.ALIVE} if verb is Verb.DETACH else replaced
    # What is stacked below one that is replaced cannot be asked, being covered; nobody reads it either.
    ids = tuple(mount.mount_id for mount in bind.mounts if states[mount.device] in {*removed, State.HIDDEN})
    reason = ""
    if state is State.HIDDEN:
        # Nobody in there reads it, dead or alive; a mount over it is the container's own affair.
        reason = "something else is mounted over it"
    elif state is State.SILENT and state not in removed:
        reason = "its server does not answer"
    elif state in removed and not is_place(bind.target):
        reason = "not below /proc or the CPU directory"
    elif state in removed and verb is Verb.PLANT and not bind.file:
        reason = "our whole tree, which is none of the kernel's files"
    elif state in removed:
        return _Plan(namespace, bind.target, state, Order(verb, bind.target, bind.file, ids))
    return _Plan(namespace, bind.target, state, reason=reason)


def _plan_absent(
    chosen: Sequence[Namespace], plans: Sequence[_Plan], detached: set[Detached], files: Sequence[str]
) -> list[_Plan]:
    """Plan for what is not bound: what was detached, and `files` in the oldest namespace of a container."""
    there = {(plan.namespace.inode, plan.target) for plan in plans}
    by_identity = {(namespace.inode, namespace.start_ticks): namespace for namespace in chosen}
    absent: dict[tuple[int, str], _Plan] = {}
    for entry in sorted(detached):
        namespace = by_identity.get((entry.namespace, entry.start_ticks))
        if namespace is not None:
            order = Order(Verb.PLANT, entry.target, entry.file)
            absent[namespace.inode, entry.target] = _Plan(namespace, entry.target, State.MISSING, order)
    if files:
        oldest = min(chosen, key=lambda namespace: namespace.start_ticks)
        for file in files:
            order = Order(Verb.PLANT, f"/{file}", file)
            absent.setdefault((oldest.inode, order.target), _Plan(oldest, order.target, State.NONE, order))
    return [plan for key, plan in absent.items() if key not in there]


def _choose(request: Request, namespaces: Iterable[Namespace]) -> list[Namespace]:
    """Return the namespaces that are meant, oldest first; LookupError if a container was named in vain."""
    chosen = [
        namespace
        for namespace in namespaces
        if not namespace.is_hosts and (request.container is None or namespace.name.matches(request.container))
    ]
    if request.container is not None:
        ids = {namespace.name.container_id or namespace.name.cgroup for namespace in chosen}
        if len(ids) != 1:
            what = "several containers have" if ids else "no running container has"
            raise LookupError(f"{what} an id that begins with {request.container!r}")
    return sorted(chosen, key=lambda namespace: (namespace.start_ticks, namespace.inode))


def _states(planter: Planter, binds: Iterable[tuple[Namespace, Bind]]) -> dict[str, State]:
    """Find out which connections live: ours by its number, any other by asking once, from a child process."""
    states: dict[str, State] = {}
    places: dict[str, list[Job]] = {}
    for namespace, bind in binds:
        for mount in bind.mounts:
            states[mount.device] = State.ALIVE if mount.device == planter.device else State.HIDDEN
        if bind.seen is not None and bind.seen.device != planter.device:
            order = Order(Verb.ASK, bind.target, bind.file, (bind.seen.mount_id,))
            places.setdefault(bind.seen.device, []).append(_job(namespace, (), [order]))
    for attempt in range(_ASKED_PLACES):
        jobs = {
            device: asked[attempt]
            for device, asked in places.items()
            if states[device] is State.HIDDEN and attempt < len(asked)
        }
        answers = planter.carry_out(list(jobs.values()))
        states.update({device: _state(answer) for device, (answer,) in zip(jobs, answers, strict=True)})
    return states


def _state(answer: Answer) -> State:
    if answer.word is Word.SILENT:
        return State.SILENT
    if answer.word is not Word.DONE:
        return State.HIDDEN
    return State.DEAD if answer.number in _STALE else State.OTHER


def _carry_out(planter: Planter, plans: Sequence[_Plan], reach: Reach) -> list[Answer | None]:
    orders: dict[int, list[tuple[int, Order]]] = {}
    for index, plan in enumerate(plans):
        if plan.order is not None:
            orders.setdefault(plan.namespace.inode, []).append((index, plan.order))
    jobs = []
    for numbered in orders.values():
        namespace = plans[numbered[0][0]].namespace
        own = reach.own_groups(parse_mountinfo(namespace.mountinfo), namespace)
        jobs.append(_job(namespace, own, [order for _, order in numbered]))
    answers: list[Answer | None] = [None] * len(plans)
    for numbered, given in zip(orders.values(), planter.carry_out(jobs), strict=True):
        for (index, _), answer in zip(numbered, given, strict=True):
            answers[index] = answer
    return answers


def _job(namespace: Namespace, own_peer_groups: tuple[int, ...], orders: Iterable[Order]) -> Job:
    return Job(namespace.pid, namespace.start_ticks, namespace.inode, own_peer_groups, tuple(orders))


def _remember(
    detached: Iterable[Detached], plans: Iterable[_Plan], answers: Iterable[Answer | None]
) -> set[Detached]:
    """Return what is detached after all this."""
    kept = set(detached)
    for plan, answer in zip(plans, answers, strict=True):
        if plan.order is None or answer is None or answer.word not in {Word.DONE, Word.ALREADY}:
            continue
        entry = Detached(plan.namespace.inode, plan.namespace.start_ticks, plan.order.target, plan.order.file)
        if plan.order.verb is Verb.DETACH:
            kept.add(entry)
        else:
            kept.discard(entry)
    return kept


def _foresee(plan: _Plan) -> Outcome:
    action = Action.LEFT if plan.reason else Action.NOTHING
    if plan.order is not None:
        action = Action.WOULD_PLANT if plan.order.verb is Verb.PLANT else Action.WOULD_DETACH
    return _describe(plan, action, plan.reason)


def _outcome(plan: _Plan, answer: Answer | None) -> Outcome:
    if plan.order is None or answer is None:
        return _foresee(plan)
    done = Action.PLANTED if plan.order.verb is Verb.PLANT else Action.DETACHED
    action = {
        Word.DONE: done,
        Word.ALREADY: done,
        Word.LEFT: Action.LEFT,
        Word.GONE: Action.GONE,
        Word.FAILED: Action.FAILED,
        Word.SILENT: Action.FAILED,
    }[answer.word]
    return _describe(plan, action, answer.reason)


def _describe(plan: _Plan, action: Action, reason: str) -> Outcome:
    return Outcome(plan.namespace.name, plan.namespace.pid, plan.target, plan.state, action, reason)
