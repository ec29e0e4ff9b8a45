"""What tests need of a machine, how that is found out, and what would make a machine have it.

A test names what it needs with ``pytest.mark.needs("swap", …)`` or uses a fixture that says so with `needing`
(tests.support.requirements). Every capability is tried for real, when the first test needs it, and once.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from tests.support import probes
from tests.support.probes import UnableError


@dataclass(frozen=True, slots=True)
class Capability:
    """Something that a machine may be unable to do."""

    name: str
    #: What is tried; raises `UnableError` with the reason.
    probe: Callable[[], None]
    #: What would make the machine able to; one line.
    remedy: str
    #: Names of capabilities that it takes; only if the machine has them all it is tried.
    rests_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that this machine was found unable to do."""

    name: str
    reason: str
    remedy: str


_Function = TypeVar("_Function", bound=Callable[..., Any])
_ATTRIBUTE: Final = "needs_of_the_machine"
_PRIVILEGED: Final = (
    "run it as root on the machine itself or in a virtual machine, or `docker run --privileged`"
)
_TWO_LAYERS: Final = ("root", "namespaces", "cgroups")
#: Program -> the Debian package that has it.
PROGRAMS: Final = {
    "busybox": "busybox-static",
    "cpio": "cpio",
    "crun": "crun",
    "dockerd": "docker.io",
    "htop": "htop",
    "java": "default-jre-headless",
    "lxc-start": "lxc",
    "lxcfs": "lxcfs",
    "newuidmap": "uidmap",
    "node": "nodejs",
    "podman": "podman",
    "rsync": "rsync",
    "runc": "runc",
    "tmux": "tmux",
    "top": "procps",
    "toybox": "toybox",
}

_OTHERS: Final = (
    Capability("root", probes.root, "run it as root"),
    Capability(
        "fuse",
        probes.fuse,
        "`modprobe fuse`; in a container, `docker run --device /dev/fuse`",
        rests_on=("root",),
    ),
    Capability("namespaces", probes.namespaces, _PRIVILEGED, rests_on=("root",)),
    Capability(
        "cgroups",
        probes.cgroups,
        f"{_PRIVILEGED}, where cpu, cpuset, io and memory are in cgroup hierarchies that can be written to",
        rests_on=("root",),
    ),
    Capability("disk", probes.disk, "TMPDIR on a disk's file system"),
    Capability(
        "root-cgroup",
        probes.root_cgroup,
        "run it on the machine itself: a container's top group has either processes or groups with limits",
        rests_on=("cgroups",),
    ),
    Capability("cgroup-v1", probes.cgroup_v1, "boot with systemd.unified_cgroup_hierarchy=0", ("cgroups",)),
    Capability("pressure", probes.pressure, "a kernel with CONFIG_PSI, booted with psi=1", ("cgroups",)),
    Capability(
        "swap",
        probes.swap,
        "swap on the host, or TMPDIR on a disk's file system, and the right to swapon(2)",
        rests_on=("root", "namespaces"),
    ),
    Capability("cpuset", probes.cpuset, "a kernel with CONFIG_CPUSETS", rests_on=("cgroups",)),
    Capability(
        "two-cpus",
        probes.two_cpus,
        "a machine with CPUs 0 and 1, in the cpuset of the tests too",
        rests_on=("cpuset",),
    ),
    Capability("huge-pages", probes.huge_pages, _PRIVILEGED, rests_on=("root",)),
    Capability("resend", probes.resend, "Linux 6.9 or later"),
    Capability("strace", probes.strace, "`apt-get install strace`, and the right to ptrace(2)"),
    Capability(
        "personality",
        probes.personality,
        "no seccomp filter (`docker run --security-opt seccomp=unconfined`)",
    ),
    Capability(
        "other-user",
        probes.other_user,
        "run it as root, with CAP_SETUID",
        rests_on=("root",),
    ),
    Capability("user-namespaces", probes.user_namespaces, "sysctl user.max_user_namespaces above 0"),
    Capability("pypi", probes.pypi, "a way to PyPI (PIP_INDEX_URL names another index)"),
    Capability(
        "debian-image",
        probes.debian_image,
        "`apt-get install debootstrap`, and a way to Debian's packages",
        ("root",),
    ),
    Capability(
        "docker", probes.docker, f"`apt-get install docker.io`; {_PRIVILEGED}", (*_TWO_LAYERS, "busybox")
    ),
    Capability(
        "systemd", probes.systemd, f"`apt-get install systemd`; {_PRIVILEGED}", (*_TWO_LAYERS, "fuse")
    ),
    Capability(
        "uml", probes.uml, f"`apt-get install user-mode-linux`; {_PRIVILEGED}", ("root", "namespaces")
    ),
    Capability(
        "qemu",
        probes.qemu,
        f"`apt-get install qemu-system-x86 virtiofsd kmod`, and a way to Debian's packages; {_PRIVILEGED}",
        rests_on=("root", "namespaces", "busybox"),
    ),
)


def _program(name: str, package: str) -> Capability:
    def probe() -> None:
        if shutil.which(name) is None:
            raise UnableError(f"no program {name}")

    return Capability(name, probe, f"`apt-get install {package}`")


CAPABILITIES: Final = {
    each.name: each for each in (*_OTHERS, *(_program(name, package) for name, package in PROGRAMS.items()))
}


class Machine:
    """A machine that is asked for what it can do; remembers the answers."""

    def __init__(self, capabilities: dict[str, Capability]) -> None:
        """Know `capabilities` by name, and of none yet whether it is here."""
        self._capabilities = capabilities
        self._lacks: dict[str, tuple[Lack, ...]] = {}

    @property
    def names(self) -> frozenset[str]:
        """What can be asked for."""
        return frozenset(self._capabilities)

    def lacks(self, names: Iterable[str]) -> list[Lack]:
        """Return what of these is not here, each once; of what rests on others, what is not here of those."""
        found = [lack for name in names for lack in self._of(name)]
        return list(dict.fromkeys(found))

    def _of(self, name: str) -> tuple[Lack, ...]:
        if name not in self._lacks:
            self._lacks[name] = tuple(self._try(self._capabilities[name]))
        return self._lacks[name]

    def _try(self, capability: Capability) -> Iterator[Lack]:
        below = self.lacks(capability.rests_on)
        yield from below
        if not below:
            try:
                capability.probe()
            except UnableError as unable:
                yield Lack(capability.name, str(unable), capability.remedy)


def needing(*names: str) -> Callable[[_Function], _Function]:
    """Say, below ``@pytest.fixture``, what a fixture needs of the machine to be made."""

    def remember(function: _Function) -> _Function:
        setattr(function, _ATTRIBUTE, names)
        return function

    return remember


def needed_by(function: Callable[..., Any]) -> tuple[str, ...]:
    """Return what `needing` was told."""
    names: tuple[str, ...] = getattr(function, _ATTRIBUTE, ())
    return names
