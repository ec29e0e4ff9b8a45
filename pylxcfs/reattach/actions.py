"""Attaches our files anew in running containers, and detaches them."""

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from pylxcfs.errors import StartupError
from pylxcfs.fuse.mounting import FILE_SYSTEM_TYPE, mount_at
from pylxcfs.fuse.probe import ask
from pylxcfs.linux import mountapi
from pylxcfs.linux.files import read_boot_id
from pylxcfs.linux.mountapi import MNT_DETACH, UMOUNT_NOFOLLOW, can_close_mounts
from pylxcfs.linux.mountinfo import Mount
from pylxcfs.reattach.detached import Detached, DetachedFile
from pylxcfs.reattach.outcome import Action, Outcome
from pylxcfs.reattach.plan import STALE, Plan, Request, Survey, make_job, make_plans, plan_absent
from pylxcfs.reattach.protocol import Answer, Order, Verb, Word
from pylxcfs.reattach.survey import State
from pylxcfs.reattach.worker_client import Worker

#: After so many passes in a row that found nothing to detach, nobody is creating a container with our files
#: any more: a runtime binds them within a fraction of a second after it has looked them up.
_QUIET_PASSES: Final = 4
_PAUSE_SECONDS: Final = 0.2
_NOT_DONE: Final = {
    Word.LEFT: Action.LEFT,
    Word.GONE: Action.GONE,
    Word.FAILED: Action.FAILED,
    Word.UNRESPONSIVE: Action.FAILED,
}


def reattach(request: Request, files: Sequence[str] = ()) -> list[Outcome]:
    """Attach dead and detached binds anew, and in the container named all `files` that it has none of.

    Dead are also the binds that another server of such files has left, which is mounted nowhere any more.
    The tree on the mount point must be served by another thread or process: it is asked for its files.
    Raises StartupError if it is not, or the kernel is older than Linux 5.12; LookupError for an unknown
    container.
    """
    with _tree(request) as (worker, served):
        if served is None or worker.tree_fd < 0:
            raise StartupError(f"nothing of pylxcfs is mounted on {request.mount_point}")
        return _run(request, worker, served, files, Verb.ATTACH)


def detach(request: Request, *, asks: bool = False) -> list[Outcome]:
    """Take our binds out of containers, alive or dead, so that they read the kernel's files again.

    They are remembered for the next `reattach`. Asks no server of ours before all is done, so works while one
    hangs. With `asks` it is asked afterwards, within five seconds, so that outcomes tell what the binds were;
    without, those of the mount on the mount point are called alive.
    """
    with _tree(request) as (worker, served):
        outcomes = _run(request, worker, served, (), Verb.DETACH)
    if not asks or served is None:
        return outcomes
    number = ask(request.mount_point)
    state = State.UNRESPONSIVE if number is None else State.DEAD if number in STALE else State.ALIVE
    return [replace(each, state=state) if each.state is State.ALIVE else each for each in outcomes]


def leave(request: Request) -> list[Outcome]:
    """Unmount our tree, lazily, then detach until nobody has a bind of it any more; return what was done.

    Its server should go on serving meanwhile. Containers that are being created have looked up our files
    before, and bind them afterwards; they are found because the tree is held open here until the end.
    """
    detached: list[Outcome] = []
    others: list[Outcome] = []
    quiet_passes = 0
    with _tree(request) as (worker, served):
        if served is not None and served.source == request.source:
            # Where that fails binds are detached all the same, and whoever asked for this unmounts later.
            with suppress(OSError):
                mountapi.unmount(served.mount_point, UMOUNT_NOFOLLOW | MNT_DETACH)
        while quiet_passes < _QUIET_PASSES:
            if quiet_passes:
                time.sleep(_PAUSE_SECONDS)
            outcomes = _run(request, worker, served, (), Verb.DETACH)
            found = [outcome for outcome in outcomes if outcome.action is Action.DETACHED]
            others = [outcome for outcome in outcomes if outcome.action is not Action.DETACHED]
            detached += found
            quiet_passes = 0 if found else quiet_passes + 1
    return detached + others


def survey(request: Request) -> list[Outcome]:
    """Tell of all our binds; change nothing, wait for nobody who does, ask no server of ours.

    Binds of what is mounted now are called alive by its number alone.
    """
    with _tree(request) as (worker, served):
        _, _, plans = make_plans(request, worker, served, Verb.DETACH)
        return [_foresee(plan) for plan in plans]


@contextmanager
def _tree(request: Request) -> Iterator[tuple[Worker, Mount | None]]:
    """Hold the root of the tree on the mount point, if one is mounted there, dead or alive."""
    try:
        # O_PATH: no server is asked.
        fd = os.open(request.mount_point, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield Worker(request.proc_root), None
        return
    try:
        served = mount_at(Path(f"/proc/self/fd/{fd}").readlink())
        if served is None or served.fs_type != FILE_SYSTEM_TYPE:
            yield Worker(request.proc_root), None
        else:
            yield Worker(request.proc_root, fd, served.device), served
    finally:
        os.close(fd)


def _run(
    request: Request, worker: Worker, served: Mount | None, files: Sequence[str], verb: Verb
) -> list[Outcome]:
    if verb is Verb.ATTACH:
        _check_served(request)
    kept = DetachedFile(request.runtime_dir / "pylxcfs", read_boot_id(request.proc_root))
    with kept.locked():
        found, chosen, plans = make_plans(request, worker, served, verb)
        detached = kept.load()
        if verb is Verb.ATTACH:
            plans += plan_absent(found, chosen, plans, detached, files)
        if request.dry_run:
            return [_foresee(plan) for plan in plans]
        answers = _carry_out(worker, plans, found)
        alive = {(namespace.inode, namespace.start_ticks) for namespace in found.namespaces}
        kept.save(_remember((entry for entry in detached if entry[:2] in alive), plans, answers))
    return [_outcome(plan, answer) for plan, answer in zip(plans, answers, strict=True)]


def _check_served(request: Request) -> None:
    """Raise StartupError unless the kernel can attach, and the tree that binds are made of answers."""
    if not can_close_mounts():
        raise StartupError("attaching binds in running containers needs Linux 5.12 (mount_setattr)")
    number = ask(request.mount_point)
    if number is None:
        raise StartupError(f"the server of {request.mount_point} does not answer")
    if number:
        raise StartupError(f"{request.mount_point}: {os.strerror(number)}")


def _carry_out(worker: Worker, plans: Sequence[Plan], found: Survey) -> list[Answer | None]:
    """Carry out all orders, namespace by namespace; whose mount table makes more work comes later."""
    orders: dict[int, list[tuple[int, Order]]] = {}
    for index, plan in enumerate(plans):
        if plan.order is not None:
            orders.setdefault(plan.namespace.inode, []).append((index, plan.order))
    namespaces = sorted(orders, key=found.lengths.__getitem__)
    jobs = []
    for inode in namespaces:
        namespace = plans[orders[inode][0][0]].namespace
        own = found.reach.own_groups(namespace)
        jobs.append(make_job(namespace, own, [order for _, order in orders[inode]]))
    answers: list[Answer | None] = [None] * len(plans)
    for inode, given in zip(namespaces, worker.carry_out(jobs), strict=True):
        for (index, _), answer in zip(orders[inode], given, strict=True):
            answers[index] = answer
    return answers


def _remember(
    detached: Iterable[Detached], plans: Iterable[Plan], answers: Iterable[Answer | None]
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


def _foresee(plan: Plan) -> Outcome:
    action = Action.LEFT if plan.reason else Action.NOTHING
    if plan.order is not None:
        action = Action.WOULD_ATTACH if plan.order.verb is Verb.ATTACH else Action.WOULD_DETACH
    return _describe(plan, action, plan.reason)


def _outcome(plan: Plan, answer: Answer | None) -> Outcome:
    if plan.order is None or answer is None:
        return _foresee(plan)
    done = Action.ATTACHED if plan.order.verb is Verb.ATTACH else Action.DETACHED
    return _describe(plan, _NOT_DONE.get(answer.word, done), answer.reason)


def _describe(plan: Plan, action: Action, reason: str) -> Outcome:
    return Outcome(plan.namespace.name, plan.namespace.pid, plan.target, plan.state, action, reason)
