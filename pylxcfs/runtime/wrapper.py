"""Adds the binds to a bundle's config.json. Run by its path: it imports nothing of pylxcfs.

    wrapper.py MOUNT-POINT HOOK [--opt-in] -- RUNTIME-ARGUMENTS...

Everything here may fail: the container then starts with the host's files, and one line in the system log
says why. The caller executes the real runtime in any case. pathlib is not used: it would double the start-up
time. Source: OCI runtime specification, config.md.
"""

import json
import os
import posixpath
import signal
import stat
import sys
import syslog
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

#: What runc lets anybody bind over, and the CPU tree (pylxcfs/procfiles/binds.py has the reasons).
PATHS: Final = (
    *("/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo"),
    *("/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/uptime"),
    "/sys/devices/system/cpu",
)
#: Below /proc, but not on runc's list: the hook binds it.
PRESSURE: Final = "/proc/pressure"
#: An annotation of the container, or a label of docker's.
INJECT: Final = "pylxcfs.io/inject"
_DECLINED: Final = frozenset({"disabled", "false"})
_ASKED: Final = frozenset({"enabled", "true"})
_OPTIONS: Final = ("rbind", "ro", "nosuid", "nodev", "noexec")
#: A bundle of docker's has some 20 KiB. A larger file than this is not read.
_MAX_BYTES: Final = 4 << 20
#: A server that hangs is replaced in a second or two. After this time SIGALRM ends us: the container starts.
_MAX_SECONDS: Final = 5
#: Options of create, run and restore that have the bundle as their value.
_BUNDLE_OPTIONS: Final = frozenset({"--bundle", "-b"})


class LeftAloneError(Exception):
    """Why a container gets none of the files."""


def main(argv: Sequence[str]) -> None:
    """Edit the bundle of one create, run or restore; never raise."""
    signal.alarm(_MAX_SECONDS)
    try:
        ours, given = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
        _edit_bundle(bundle_of(given), ours[0], ours[1], opt_in="--opt-in" in ours)
    except LeftAloneError as reason:
        _log(f"{reason}: the container starts with the host's files")
    except Exception as error:  # noqa: BLE001 - whatever it is, the container has to start
        _log(f"cannot edit the bundle: {error!r}: the container starts with the host's files")


def bundle_of(arguments: Sequence[str]) -> str:
    """Return the bundle directory that a runtime's arguments name; the working directory if none."""
    words = iter(arguments)
    for word in words:
        if word in _BUNDLE_OPTIONS:
            return next(words, ".")
        name, equals, value = word.partition("=")
        if equals and name in _BUNDLE_OPTIONS:
            return value
    return "."


def add_binds(spec: dict[str, Any], mount_point: str, served: Sequence[str], hook: str | None) -> bool:
    """Add binds of the `served` paths to a configuration, and `hook` for PRESSURE; tell whether it changed.

    A destination that something else is mounted on, below or above stays as it is, so a user's own bind wins.
    Raises LeftAloneError where /proc is no proc file system of the container's own.
    """
    mounts = spec.setdefault("mounts", [])
    if not any(_destination(mount) == "/proc" and mount.get("type") == "proc" for mount in mounts):
        raise LeftAloneError("the container has no /proc of its own")
    taken = {_destination(mount) for mount in mounts} - {"/", "/proc", "/sys"}
    free = [path for path in served if not any(_overlap(path, other) for other in taken)]
    for path in free:
        if path != PRESSURE:
            source = mount_point + path
            mounts.append({"destination": path, "type": "bind", "source": source, "options": list(_OPTIONS)})
    if hook is not None and PRESSURE in free:
        call = {"path": hook, "args": [hook, "--mount-point", mount_point, PRESSURE.lstrip("/")]}
        spec.setdefault("hooks", {}).setdefault("createContainer", []).append(call)
    return bool(free)


def wants_files(spec: Mapping[str, Any], *, opt_in: bool) -> bool:
    """Tell whether a container is to have the files: by its annotation, else by its label in docker."""
    wish = (spec.get("annotations") or {}).get(INJECT)
    if wish is None:
        wish = _docker_labels(spec).get(INJECT)
    return wish in _ASKED if opt_in else wish not in _DECLINED


def _edit_bundle(bundle: str, mount_point: str, hook: str, *, opt_in: bool) -> None:
    path = os.path.join(bundle, "config.json")
    spec = json.loads(_read(path))
    if not wants_files(spec, opt_in=opt_in):
        return
    served = [path for path in (*PATHS, PRESSURE) if _is_served(mount_point, path)]
    if not served:
        raise LeftAloneError(f"pylxcfs does not serve at {mount_point}")
    if add_binds(spec, mount_point, served, hook if os.access(hook, os.X_OK) else None):
        _replace(path, json.dumps(spec).encode())


def _is_served(mount_point: str, path: str) -> bool:
    """Tell whether a path is there, in a file system that is mounted at the mount point."""
    try:
        return os.stat(mount_point + path).st_dev != os.stat(mount_point + "/..").st_dev
    except OSError:
        return False


def _destination(mount: Mapping[str, Any]) -> str:
    destination: str = mount["destination"]
    return posixpath.normpath("/" + destination.lstrip("/"))


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def _docker_labels(spec: Mapping[str, Any]) -> Mapping[str, str]:
    """Return a docker container's labels, which are not in its bundle; empty where it is no docker container.

    dockerd keeps them beside the files that it binds over /etc/hostname and the like. Source: moby,
    container/container.go.
    """
    for source in _own_files(spec):
        try:
            config = json.loads(_read(os.path.join(os.path.dirname(source), "config.v2.json")))
            labels: Mapping[str, str] | None = config["Config"]["Labels"]
        except (LeftAloneError, OSError, ValueError, KeyError, TypeError):
            continue
        return labels or {}
    return {}


def _own_files(spec: Mapping[str, Any]) -> Iterator[str]:
    for mount in spec.get("mounts") or ():
        source = mount.get("source", "")
        if _destination(mount) in {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"} and source.startswith(
            "/"
        ):
            yield source


def _read(path: str) -> bytes:
    # A user may have bound a pipe there: neither open nor read waits for its other end.
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise LeftAloneError(f"{path!r} is no regular file")
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise LeftAloneError(f"{path!r} has more than {_MAX_BYTES} bytes")
    return content


def _replace(path: str, content: bytes) -> None:
    """Replace a file as a whole: the runtime and its caller read it afterwards."""
    before = os.stat(path)
    new = f"{path}.pylxcfs"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            file.write(content)
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise


def _log(text: str) -> None:
    # Names come from containers: one line, without control characters.
    printable = "".join(c if c.isprintable() else "?" for c in text[:500])
    syslog.openlog("pylxcfs-runtime", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_WARNING, printable)


if __name__ == "__main__":
    main(sys.argv[1:])
