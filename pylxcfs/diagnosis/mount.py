"""Is it mounted, seen by all, and does it answer? Pure."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pylxcfs.diagnosis.finding import Finding, Verdict
from pylxcfs.diagnosis.surroundings import Surroundings
from pylxcfs.linux.mountinfo import Mount

_STALE: Final = frozenset({errno.ENOTCONN, errno.ECONNABORTED})


@dataclass(frozen=True, slots=True)
class MountFacts:
    """The mount point, seen from here."""

    mount_point: str
    #: What is mounted there; None: nothing.
    mount: Mount | None = None
    #: What a read through it ended with: 0, an errno, None if it did not end in time.
    answer: int | None = 0
    #: How long that took, or was waited for.
    seconds: float = 0.0
    #: The mount that the mount point is in.
    parent: Mount | None = None
    #: Whether host's init has it in its mount namespace; None: that cannot be told.
    seen_by_init: bool | None = None
    #: Whether the supervisor has; None as above.
    seen_by_supervisor: bool | None = None


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """The FUSE connection."""

    has_device: bool
    #: None: nothing is mounted.
    minor: str | None = None
    #: Requests that were not answered yet; None: the kernel does not tell.
    waiting: int | None = None
    #: Whether a read was answered meanwhile.
    answers: bool = True


def check(facts: MountFacts, ours: str, where: Surroundings) -> Iterator[Finding]:
    """Judge the mount; `ours` is the file system's type."""
    mount, point = facts.mount, facts.mount_point
    if mount is None or mount.fs_type != ours:
        there = "nothing" if mount is None else f"{mount.fs_type} ({mount.source})"
        if facts.seen_by_supervisor:
            found = f"{point} has {there} here, though the supervisor has it mounted in its mount namespace"
            yield Finding("mount", Verdict.FAIL, found, _NAMESPACE_ADVICE)
        else:
            advice = f"start pylxcfs ({where.start}), which gives containers with its files bound live ones"
            yield Finding("mount", Verdict.FAIL, f"{point} has {there} mounted", advice)
        return
    named = f"{mount.source} on {point} (device {mount.device})"
    if facts.answer == 0:
        yield Finding("mount", Verdict.OK, f"{named} answers; a read took {facts.seconds * 1000:.0f} ms")
    elif facts.answer is None:
        yield Finding(
            "mount",
            Verdict.FAIL,
            f"{named} does not answer: a read was given up after {facts.seconds:.0f} s",
            "every reader waits. End the server with SIGKILL and the supervisor starts another; if the "
            f"supervisor hangs too, {where.restart}. pylxcfsctl detach frees the containers meanwhile",
        )
    elif facts.answer in _STALE:
        yield Finding(
            "mount",
            Verdict.FAIL,
            f"{named} is dead: Transport endpoint is not connected",
            f"start pylxcfs ({where.start}), which clears it and gives containers live files",
        )
    else:
        name = errno.errorcode.get(facts.answer, str(facts.answer))
        yield Finding("mount", Verdict.FAIL, f"a read through {named} fails with {name}", "see the log")
    yield from _check_reach(facts)


_NAMESPACE_ADVICE: Final = (
    "the daemon runs in a mount namespace of its own: take PrivateMounts=, PrivateTmp=, ProtectSystem= and "
    "the like out of its unit; in a container, mount the directory with Bidirectional (rshared) propagation"
)


def _check_reach(facts: MountFacts) -> Iterator[Finding]:
    if facts.seen_by_init is False:
        found = f"process 1 does not see {facts.mount_point} mounted, and so no container does"
        yield Finding("reach", Verdict.FAIL, found, _NAMESPACE_ADVICE)
    parent = facts.parent
    if parent is None:
        return
    if parent.shared is None:
        yield Finding(
            "propagation",
            Verdict.WARN,
            f"{facts.mount_point} is on {parent.mount_point}, which is mounted private: a container that has "
            "the directory itself (-v DIR:DIR:rslave, a DaemonSet) does not see it mounted anew",
            f"mount --make-rshared {parent.mount_point} (systemd does that with /); "
            "containers with single files bound do not need it",
        )
    else:
        group = f"peer group {parent.shared}"
        yield Finding("propagation", Verdict.OK, f"{parent.mount_point} is mounted shared ({group})")


def check_connection(facts: ConnectionFacts) -> Iterator[Finding]:
    """Judge the device, and what waits for an answer."""
    if not facts.has_device:
        yield Finding(
            "connection",
            Verdict.FAIL,
            "there is no /dev/fuse",
            "modprobe fuse; in a container, pass the device in",
        )
    elif facts.minor is None:
        yield Finding("connection", Verdict.OK, "/dev/fuse is there; nothing is mounted yet")
    elif facts.waiting is None:
        yield Finding(
            "connection",
            Verdict.OK,
            f"/dev/fuse is there; what waits on connection {facts.minor} cannot be told, as fusectl is not "
            "mounted (mount -t fusectl none /sys/fs/fuse/connections)",
        )
    elif facts.waiting and not facts.answers:
        yield Finding(
            "connection",
            Verdict.WARN,
            f"{facts.waiting} requests wait on connection {facts.minor}",
            f"as a last resort, echo 1 > /sys/fs/fuse/connections/{facts.minor}/abort ends them with errors; "
            "pylxcfs mounts anew, and pylxcfsctl reattach brings that into the containers",
        )
    else:
        yield Finding("connection", Verdict.OK, f"nobody waits in vain on connection {facts.minor}")
