"""Security modules, and what the daemon itself may do. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pylxcfs.diagnosis.finding import Finding, Verdict

#: linux/capability.h, and what each is needed for.
_NEEDED: Final = {
    2: ("CAP_DAC_READ_SEARCH", "reading other users' processes"),
    18: ("CAP_SYS_CHROOT", "reattach"),
    19: ("CAP_SYS_PTRACE", "telling containers apart"),
    21: ("CAP_SYS_ADMIN", "mounting"),
}
_UNCONFINED: Final = frozenset({"", "unconfined", "kernel"})


@dataclass(frozen=True, slots=True)
class SecurityFacts:
    """What the kernel says of its security modules."""

    #: None: no SELinux.
    selinux_enforcing: bool | None = None
    #: virt_sandbox_use_fusefs; None: the policy has no such boolean.
    selinux_allows_fuse: bool | None = None
    apparmor: bool = False
    #: Loaded profiles that container runtimes bring.
    profiles: tuple[str, ...] = ()
    #: The daemon's own label or profile.
    confinement: str = ""


@dataclass(frozen=True, slots=True)
class PrivilegeFacts:
    """What the supervisor may do, and what its /proc hides."""

    #: CapEff; None: there is no supervisor.
    capabilities: int | None = None
    hidepid: str = ""


def check(facts: SecurityFacts) -> Iterator[Finding]:
    """Judge whether containers can read our files, and the daemon the machine."""
    if facts.selinux_enforcing and facts.selinux_allows_fuse is False:
        yield Finding(
            "selinux",
            Verdict.WARN,
            "enforcing, with virt_sandbox_use_fusefs off: older policies then let none read our files",
            "setsebool -P virt_sandbox_use_fusefs on",
        )
    elif facts.selinux_enforcing:
        yield Finding(
            "selinux",
            Verdict.OK,
            "enforcing; container-selinux lets containers read FUSE files (fusefs_t). "
            "Bind without :z and :Z: FUSE files cannot be relabelled to container_file_t",
        )
    elif facts.selinux_enforcing is not None:
        yield Finding("selinux", Verdict.OK, "permissive")
    if facts.apparmor:
        what = f"profiles of containers: {', '.join(facts.profiles)}" if facts.profiles else "enabled"
        yield Finding(
            "apparmor",
            Verdict.OK,
            f"{what}. docker-default denies writing to /proc and /sys, and mount(2), inside of containers, "
            "not reading: only triggers (--enable-psi-poll) need --security-opt apparmor=unconfined",
        )
    if facts.apparmor and facts.confinement.partition(" ")[0] not in _UNCONFINED:
        yield Finding(
            "confinement",
            Verdict.WARN,
            f"the daemon itself is confined: {facts.confinement}",
            "its profile must allow ptrace (read), mount, umount, and reading /proc and /sys/fs/cgroup",
        )
    if facts.selinux_enforcing is None and not facts.apparmor:
        yield Finding("security modules", Verdict.OK, "neither SELinux nor AppArmor is active")


def check_privileges(facts: PrivilegeFacts) -> Iterator[Finding]:
    """Judge what the daemon sees of others' processes."""
    if facts.capabilities is not None:
        lacking = [(name, use) for bit, (name, use) in _NEEDED.items() if not facts.capabilities >> bit & 1]
        if lacking:
            yield Finding(
                "privileges",
                Verdict.WARN,
                "the supervisor lacks " + ", ".join(f"{name} ({use})" for name, use in lacking),
                "give its unit or container these capabilities",
            )
        else:
            yield Finding("privileges", Verdict.OK, "the supervisor has every capability that it needs")
    if facts.hidepid in {"", "0", "off"}:
        yield Finding("hidepid", Verdict.OK, "/proc shows every process")
    elif facts.capabilities is not None and not facts.capabilities >> 19 & 1:
        yield Finding(
            "hidepid",
            Verdict.FAIL,
            f"/proc is mounted with hidepid={facts.hidepid}, and the daemon lacks CAP_SYS_PTRACE: "
            "it cannot find out who reads, and shows the host",
            "give it CAP_SYS_PTRACE, or mount its /proc with hidepid=0",
        )
    else:
        yield Finding("hidepid", Verdict.OK, f"hidepid={facts.hidepid} hides nothing from CAP_SYS_PTRACE")
