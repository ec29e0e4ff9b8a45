"""Collects the facts. Asks no mounted file system from this process, and waits for nobody without a limit."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from pylxcfs.cgroup.membership import parse_membership
from pylxcfs.cgroup.types import ParseError
from pylxcfs.config import DEFAULT_RUNTIME_DIR
from pylxcfs.containers.name import name_of
from pylxcfs.content.engine import Engine
from pylxcfs.diagnosis.binds import BindFact, BindFacts
from pylxcfs.diagnosis.cgroups import CgroupFacts
from pylxcfs.diagnosis.kernel import KernelFacts
from pylxcfs.diagnosis.mount import ConnectionFacts, MountFacts
from pylxcfs.diagnosis.other_mounts import OtherFacts
from pylxcfs.diagnosis.python import PythonFacts
from pylxcfs.diagnosis.runtimes import Runtime, RuntimeFacts
from pylxcfs.diagnosis.security import PrivilegeFacts, SecurityFacts
from pylxcfs.diagnosis.service import PROPERTIES, ServiceFacts
from pylxcfs.diagnosis.space import SpaceFacts
from pylxcfs.diagnosis.surroundings import Surroundings
from pylxcfs.fuse import device, library
from pylxcfs.fuse.mounting import FILE_SYSTEM_TYPE, find_mount, topmost
from pylxcfs.fuse.probe import ask
from pylxcfs.linux.mountapi import can_close_mounts
from pylxcfs.linux.mountinfo import Mount, parse_mountinfo
from pylxcfs.reattach.actions import survey
from pylxcfs.reattach.namespaces import list_namespaces
from pylxcfs.reattach.plan import Request
from pylxcfs.reattach.survey import State
from pylxcfs.supervision.holder_client import HOLDER_MODULE
from pylxcfs.supervision.systemd import unit_of

_PROC: Final = Path("/proc")
_FUSE_CONNECTIONS: Final = Path("/sys/fs/fuse/connections")
_SELINUX: Final = Path("/sys/fs/selinux")
_APPARMOR: Final = Path("/sys/module/apparmor/parameters/enabled")
_APPARMOR_PROFILES: Final = Path("/sys/kernel/security/apparmor/profiles")
#: Profiles of this kind are of container runtimes.
_RUNTIME_PROFILE: Final = re.compile(
    r"^(?:docker|crio|cri-containerd|containers|lxc|podman)\S*", re.MULTILINE
)
_RUNTIMES: Final = (
    "docker",
    "dockerd",
    "containerd",
    "crio",
    "podman",
    "nerdctl",
    "lxc-start",
    "runc",
    "crun",
)
_SOCKETS: Final = (
    "docker.sock",
    "containerd/containerd.sock",
    "crio/crio.sock",
    "podman/podman.sock",
    "cri-dockerd.sock",
)
_VERSION: Final = re.compile(r"\d+\.\d+[\w.+~-]*")
_COMMAND_SECONDS: Final = 5.0
#: What docker, podman and Kubernetes leave in a container.
_CONTAINER_MARKS: Final = (Path("/.dockerenv"), Path("/run/.containerenv"))
_CONTAINER_NAMES: Final = ("container", "KUBERNETES_SERVICE_HOST")
#: Of st_blocks (stat(2)).
_BLOCK: Final = 512


@dataclass(frozen=True, slots=True)
class Place:
    """What an operator has named: where pylxcfs should be."""

    mount_point: Path
    runtime_dir: Path = DEFAULT_RUNTIME_DIR
    #: The file system's name, if it was mounted with ``-o fsname``.
    source: str | None = None


def mount_facts(place: Place, supervisor_pid: int | None) -> MountFacts:
    """Look at the mount point, and read through it."""
    mount = find_mount(place.mount_point)
    answer: int | None = 0
    began = time.monotonic()
    if mount is not None and mount.fs_type == FILE_SYSTEM_TYPE:
        answer = ask(place.mount_point, "proc/uptime")
    seconds = time.monotonic() - began
    own = _mounts("self")
    return MountFacts(
        mount_point=str(place.mount_point),
        mount=mount,
        answer=answer,
        seconds=seconds,
        parent=_parent(own, place.mount_point, mount),
        seen_by_init=_is_seen(1, place.mount_point, mount) if mount is not None else None,
        seen_by_supervisor=_is_seen(supervisor_pid, place.mount_point, mount) if supervisor_pid else None,
    )


def connection_facts(mount: MountFacts) -> ConnectionFacts:
    """Look at /dev/fuse, and at what the kernel counts for the mount's connection."""
    has_device = Path(device.PATH).is_char_device()
    if mount.mount is None or mount.mount.fs_type != FILE_SYSTEM_TYPE:
        return ConnectionFacts(has_device)
    minor = mount.mount.device.partition(":")[2]
    waiting = _read(_FUSE_CONNECTIONS / minor / "waiting").strip()
    return ConnectionFacts(has_device, minor, int(waiting) if waiting else None, mount.answer == 0)


def cgroup_facts(engine: Engine) -> CgroupFacts:
    """Look at the hierarchies."""
    v2 = next((Path(each.mount_point) for each in engine.hierarchies if each.is_v2), None)
    v1_names = [name for each in engine.hierarchies if not each.is_v2 for name in each.names]
    return CgroupFacts(
        versions=engine.versions,
        # A hierarchy without controllers, such as name=systemd, has nothing to tell.
        has_v1=any(not name.startswith("name=") for name in v1_names),
        has_v2=v2 is not None,
        v2_available=_words(v2 / "cgroup.controllers") if v2 else frozenset(),
        # At the top of a container's own namespace, its own controllers are all that children can have.
        v2_enabled=_words(v2 / "cgroup.subtree_control") if v2 else frozenset(),
        disabled=_disabled_controllers(_read(_PROC / "cgroups")),
        swap_accounting=engine.features["swap accounting"],
        command_line=tuple(_read(_PROC / "cmdline").split()),
    )


def bind_facts(place: Place, mount: MountFacts) -> BindFacts:
    """Look for our files in running containers; raises OSError."""
    state = State.ALIVE
    if mount.answer is None:
        state = State.UNRESPONSIVE
    elif mount.mount is None or mount.answer:
        state = State.DEAD
    outcomes = survey(Request(place.mount_point, place.runtime_dir, source=place.source))
    binds = [BindFact(each.container, each.pid, each.target, each.state) for each in outcomes]
    containers = [
        namespace
        for namespace in list_namespaces(_PROC)
        if not namespace.is_hosts and not namespace.in_host_pid_namespace
    ]
    return BindFacts(binds, len(containers), state)


def space_facts(runtime_dir: Path) -> SpaceFacts:
    """Look at the runtime directory; raises OSError."""
    room = os.statvfs(runtime_dir)
    directory = runtime_dir / "pylxcfs"
    taken = 0
    with suppress(OSError):
        taken = sum(path.lstat().st_blocks * _BLOCK for path in directory.rglob("*"))
    # Some file systems count no names.
    return SpaceFacts(
        str(runtime_dir), taken, room.f_bavail * room.f_frsize, not room.f_files or room.f_favail > 0
    )


def runtime_facts() -> RuntimeFacts:
    """Ask what is installed for its version, and look for sockets."""
    found = {name: path for name in _RUNTIMES if (path := shutil.which(name)) is not None}
    return RuntimeFacts(
        installed=[Runtime(name, _version_of(path)) for name, path in found.items()],
        sockets=[f"/run/{name}" for name in _SOCKETS if Path("/run", name).is_socket()],
    )


def security_facts(supervisor_pid: int | None) -> SecurityFacts:
    """Look at SELinux and AppArmor."""
    enforce = _read(_SELINUX / "enforce").strip()
    boolean = _read(_SELINUX / "booleans/virt_sandbox_use_fusefs").split()
    label = _read(_PROC / str(supervisor_pid) / "attr/current") if supervisor_pid else ""
    profiles = {found[0] for found in _RUNTIME_PROFILE.finditer(_read(_APPARMOR_PROFILES))}
    return SecurityFacts(
        selinux_enforcing=enforce == "1" if enforce else None,
        selinux_allows_fuse=boolean[0] == "1" if boolean else None,
        apparmor=_read(_APPARMOR).strip() == "Y",
        profiles=tuple(sorted(profiles)),
        confinement=label.strip(" \n\0"),
    )


def privilege_facts(supervisor_pid: int | None) -> PrivilegeFacts:
    """Look at the supervisor's capabilities, and at its /proc."""
    capabilities = re.search(r"^CapEff:\s*([0-9a-f]+)", _read(_status_of(supervisor_pid)), re.MULTILINE)
    proc = topmost(_mounts(supervisor_pid or "self"), _PROC)
    hidden = re.search(r"(?:^|,)hidepid=(\w+)", proc.super_options) if proc else None
    return PrivilegeFacts(
        capabilities=int(capabilities[1], 16) if capabilities and supervisor_pid else None,
        hidepid=hidden[1] if hidden else "",
    )


def surroundings(supervisor_pid: int | None) -> Surroundings:
    """Find out how pylxcfs is started here: where the supervisor is, or else where we are ourselves."""
    in_container = any(path.exists() for path in _CONTAINER_MARKS)
    in_container = in_container or any(map(os.environ.get, _CONTAINER_NAMES))
    if supervisor_pid is not None:
        with suppress(OSError, ParseError):
            content = (_PROC / str(supervisor_pid) / "cgroup").read_bytes()
            name = name_of(parse_membership("/proc/PID/cgroup", content))
            in_container = in_container or bool(name.container_id)
    return Surroundings(Path("/run/systemd/system").is_dir(), in_container)


def service_facts(supervisor_pid: int | None, mount_point: Path) -> ServiceFacts:
    """Ask systemd about the supervisor's unit; if it is in none, look for a holder."""
    has_systemd = Path("/run/systemd/system").is_dir()
    unit = None
    if has_systemd and supervisor_pid:
        unit = unit_of(_read(_PROC / str(supervisor_pid) / "cgroup"))
    if unit is None:
        return ServiceFacts(has_systemd, holder_pid=_find_holder(mount_point))
    told = _run("systemctl", "show", "--property", ",".join(PROPERTIES), unit)
    return ServiceFacts(has_systemd=True, unit=unit, properties=_assignments(told))


def _find_holder(mount_point: Path) -> int | None:
    """Return the process that keeps this mount's connection for the next container, if there is one."""
    for process in psutil.process_iter(["cmdline"]):
        if {HOLDER_MODULE, str(mount_point)}.issubset(process.info["cmdline"] or ()):
            return process.pid
    return None


def kernel_facts(engine: Engine | None) -> KernelFacts:
    """Try what can be tried."""
    tried = {
        "mount_setattr": can_close_mounts(),
        "pidfd_open": _opens_pidfd(),
        "pressure": (_PROC / "pressure").is_dir(),
    }
    if engine is not None:
        known = ("namespace ioctl", "cgroupstats")
        tried |= {name: bool(engine.features[name]) for name in known}
    return KernelFacts(os.uname().release, tried)


def other_facts(mount: Mount | None) -> OtherFacts:
    """Look for lxcfs, and for mounts like ours."""
    pids = [each.pid for each in psutil.process_iter(["name"]) if each.info["name"] == "lxcfs"]
    ours = mount.device if mount is not None else ""
    mounts = [
        (str(each.mount_point), each.source)
        for each in _mounts("self")
        if each.fs_type == FILE_SYSTEM_TYPE and each.device != ours
    ]
    return OtherFacts(sorted(pids), mounts)


def python_facts(supervisor_pid: int | None) -> PythonFacts:
    """Look at the interpreter, and for our libraries."""
    libraries: dict[str, str | None] = {}
    for name in ("pyfuse3", "trio", "psutil"):
        try:
            libraries[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            libraries[name] = None
    other = ""
    with suppress(OSError):
        executable = str((_PROC / str(supervisor_pid) / "exe").readlink()) if supervisor_pid else ""
        other = "" if executable in {"", os.path.realpath(sys.executable)} else executable
    version = sys.version_info
    return PythonFacts(
        (version.major, version.minor, version.micro), sys.executable, libraries, other, library.load_error()
    )


def _mounts(pid: int | str) -> list[Mount]:
    try:
        return parse_mountinfo((_PROC / str(pid) / "mountinfo").read_bytes())
    except OSError:
        return []


def _parent(mounts: list[Mount], mount_point: Path, mount: Mount | None) -> Mount | None:
    """Return the mount that the mount point is in."""
    if mount is not None:
        return next((each for each in mounts if each.mount_id == mount.parent_id), None)
    above = [each for each in mounts if mount_point.is_relative_to(each.mount_point)]
    return max(above, key=lambda each: len(each.mount_point.parts), default=None)


def _is_seen(pid: int, mount_point: Path, mount: Mount | None) -> bool | None:
    """Tell whether a process has our mount; None if it cannot be asked."""
    mounts = _mounts(pid)
    if not mounts:
        return None
    return any(
        each.mount_point == (mount.mount_point if mount else mount_point)
        and each.fs_type == FILE_SYSTEM_TYPE
        and (mount is None or each.device == mount.device)
        for each in mounts
    )


def _disabled_controllers(text: str) -> frozenset[str]:
    """Return the first column where the last is 0 (/proc/cgroups, cgroups(7))."""
    rows = (line.split() for line in text.splitlines() if not line.startswith("#"))
    return frozenset(row[0] for row in rows if row and row[-1] == "0")


def _status_of(pid: int | None) -> Path:
    return _PROC / str(pid or "self") / "status"


def _opens_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _version_of(program: str) -> str:
    found = _VERSION.search(_run(program, "--version"))
    return found[0].rstrip(".,") if found else ""


def _run(*command: str) -> str:
    """Return what a program prints; nothing if it fails, or takes too long."""
    try:
        done = subprocess.run(  # noqa: S603 - found through PATH, as an operator would
            command, capture_output=True, text=True, check=False, timeout=_COMMAND_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _assignments(text: str) -> Mapping[str, str]:
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def _words(path: Path) -> frozenset[str]:
    return frozenset(_read(path).split())


def _read(path: Path) -> str:
    """Return a file's text; nothing if it is not there, or not for us."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
