"""What is injected, into what, and how pods say what they want."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pylxcfs.procfiles.binds import CPU_DIRECTORY, DEFAULT_MOUNT_POINT, bindable
from pylxcfs.procfiles.table import VIRTUAL_FILES

#: On a namespace or pod: "enabled" asks for injection, "disabled" declines it.
INJECT_LABEL: Final = "pylxcfs.io/inject"
#: Values of `INJECT_LABEL` on a pod that decline; the manifests' selectors have the same list.
DECLINED: Final = frozenset({"disabled", "false"})
#: Names of files for all containers of the pod, comma separated; "none" for none.
FILES_ANNOTATION: Final = "pylxcfs.io/files"
#: The same for the one container whose name follows.
CONTAINER_FILES_PREFIX: Final = "pylxcfs.io/files."
#: Names of the containers that get files, comma separated; without it, all.
CONTAINERS_ANNOTATION: Final = "pylxcfs.io/containers"
#: Names of containers that get none.
EXCLUDE_ANNOTATION: Final = "pylxcfs.io/exclude-containers"
#: Written by us, for people; never read.
STATUS_ANNOTATION: Final = "pylxcfs.io/status"

#: Only root may read the host's slabinfo (mode 0400): most containers have no use for it.
_ON_REQUEST: Final = frozenset({"slabinfo"})


@dataclass(frozen=True, slots=True)
class InjectedFile:
    """A file, or the directory of CPUs, that a container can be given."""

    #: Below our mount point and below the container's root.
    path: str

    @property
    def name(self) -> str:
        """What annotations call it: ``meminfo``, ``cpu``."""
        return self.path.rpartition("/")[2]

    @property
    def target(self) -> str:
        """Where the container sees it."""
        return f"/{self.path}"

    @property
    def volume_name(self) -> str:
        """The volume's name, a DNS label."""
        return f"pylxcfs-{self.path.replace('/', '-')}"

    @property
    def host_path_type(self) -> str:
        """What the kubelet checks, and waits for, before it starts the container."""
        return "Directory" if self.path == CPU_DIRECTORY else "File"


#: All that the table of virtual files has and runtimes accept.
INJECTED_FILES: Final = tuple(map(InjectedFile, bindable(file.path for file in VIRTUAL_FILES)))
DEFAULT_NAMES: Final = frozenset(file.name for file in INJECTED_FILES) - _ON_REQUEST
#: Where an injected pod may be needed to start the daemon whose files it waits for.
DEFAULT_EXCLUDED_NAMESPACES: Final = frozenset({"kube-system", "kube-public", "kube-node-lease"})
#: Patterns of RuntimeClass names. From a virtual machine requests arrive with the file server's pid and are
#: given the host's view; gVisor and sysbox make up /proc themselves.
DEFAULT_SKIPPED_RUNTIME_CLASSES: Final = ("kata*", "*gvisor*", "runsc*", "sysbox*")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a decision depends on besides the pod."""

    mount_point: str = DEFAULT_MOUNT_POINT
    files: tuple[InjectedFile, ...] = INJECTED_FILES
    #: The files of a container that asks for nothing in particular, by name.
    default_names: frozenset[str] = DEFAULT_NAMES
    excluded_namespaces: frozenset[str] = DEFAULT_EXCLUDED_NAMESPACES
    init_containers: bool = True
    #: Inject into pods in the host's pid namespace too, which are thought to look at the host.
    host_pid: bool = False
    #: Patterns as in fnmatch(3).
    skipped_runtime_classes: tuple[str, ...] = DEFAULT_SKIPPED_RUNTIME_CLASSES

    def named(self, names: Iterable[str]) -> tuple[InjectedFile, ...]:
        """Return the files with one of `names`, in the table's order."""
        wanted = frozenset(names)
        return tuple(file for file in self.files if file.name in wanted)
