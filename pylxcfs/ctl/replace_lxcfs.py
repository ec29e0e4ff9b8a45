"""``pylxcfsctl replace-lxcfs``: lxcfs goes, pylxcfs comes, and no read in a container fails meanwhile."""

import argparse
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from pylxcfs.console import write_lines
from pylxcfs.ctl.options import add_mount_point, add_runtime_dir
from pylxcfs.errors import StartupError

#: What lxcfs calls its file system, and itself.
_LXCFS: Final = "lxcfs"
_UNIT: Final = "pylxcfs.service"
#: Containers that start meanwhile are found by the next one; one that finds nothing is the last.
_PASSES: Final = 20
#: For readers that had a file open when it was taken away, and are in the middle of it.
_GRACE_SECONDS: Final = 1.0
_STOP_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1
_DETACHED: Final = "containers have the kernel's files now"

EPILOG: Final = (
    "Gives containers the kernel's own files, stops lxcfs (its unit if it has one, which is disabled too), "
    f"and starts and enables {_UNIT} if that is installed. Containers get the files of pylxcfs as soon as it "
    "serves. A program that keeps a file of lxcfs open for longer than a second gets an error from it: that "
    "cannot be taken over. Exit status: 0 done; 1 not, and the last line says why."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.epilog = EPILOG
    add_mount_point(parser)
    add_runtime_dir(parser, ", where detached binds are remembered")


def run(arguments: argparse.Namespace) -> int:
    """Do it, step by step; raises StartupError where it cannot go on, and OSError."""
    mount_point = arguments.mount_point.absolute()
    for line in _replace(mount_point, arguments.runtime_dir.absolute()):
        write_lines([line])
    return 0


def _replace(mount_point: Path, runtime_dir: Path) -> Iterator[str]:
    """Go through the steps; yield what each has done."""
    # Late: -h should not wait for it.
    from pylxcfs.fuse.mounting import find_mount  # noqa: PLC0415

    mount = find_mount(mount_point)
    if mount is None:
        yield f"nothing is mounted on {mount_point}; dead files of lxcfs are replaced when pylxcfs starts"
    elif mount.source != _LXCFS:
        raise StartupError(f"{mount_point} is not lxcfs', but of {mount.source}")
    else:
        yield _detach(mount_point, runtime_dir)
        time.sleep(_GRACE_SECONDS)
        yield _stop(mount_point, mount.device)
    yield _start(mount_point)


def _detach(mount_point: Path, runtime_dir: Path) -> str:
    """Give all containers the kernel's files; raises StartupError before anything is stopped."""
    from pylxcfs.reattach.actions import detach  # noqa: PLC0415
    from pylxcfs.reattach.outcome import Action, summary  # noqa: PLC0415
    from pylxcfs.reattach.plan import Request  # noqa: PLC0415

    request = Request(mount_point, runtime_dir, source=_LXCFS)
    all_outcomes = []
    for _ in range(_PASSES):
        outcomes = detach(request)
        all_outcomes += [outcome for outcome in outcomes if outcome.action is Action.DETACHED]
        troubles = [outcome for outcome in outcomes if outcome.is_trouble]
        if troubles:
            first = troubles[0]
            raise StartupError(
                f"lxcfs goes on, as {len(troubles)} binds cannot be taken away, the first: {first.where} "
                f"{first.target}: {first.reason or first.state}"
            )
        if not any(outcome.action is Action.DETACHED for outcome in outcomes):
            break
    return f"detached: {summary(all_outcomes)}"


def _stop(mount_point: Path, device: str) -> str:
    """End lxcfs, and wait until its mount is gone; raises StartupError."""
    from pylxcfs.fuse.mounting import find_mount  # noqa: PLC0415
    from pylxcfs.fuse.probe import ask  # noqa: PLC0415
    from pylxcfs.supervision.systemd import unit_of  # noqa: PLC0415

    servers = _servers(mount_point)
    units = {unit for server in servers if (unit := unit_of(_cgroups(server)))}
    unit = next((unit for unit in units if unit.startswith(_LXCFS)), None)
    if unit is not None and _has_systemd():
        _systemctl("disable", "--now", unit)
        told = f"stopped and disabled: {unit}"
    elif servers:
        for server in servers:
            server.terminate()
        told = f"stopped: lxcfs, pid {', '.join(str(server.pid) for server in servers)}"
    elif ask(mount_point):
        return "lxcfs had ended; its mount is dead, and the start of pylxcfs takes it away"
    else:
        raise StartupError(f"{_DETACHED}, but who serves {mount_point} was not found: stop it")
    end = time.monotonic() + _STOP_SECONDS
    while (mount := find_mount(mount_point)) is not None and mount.device == device:
        if all(not server.is_running() for server in servers):
            # A stale mount; our start takes it away.
            break
        if time.monotonic() > end:
            raise StartupError(f"{_DETACHED}, but lxcfs does not leave {mount_point}")
        time.sleep(_LOOK_SECONDS)
    return told


def _start(mount_point: Path) -> str:
    if _has_systemd() and _is_installed():
        _systemctl("enable", "--now", _UNIT)
        return f"started and enabled: {_UNIT}; containers have its files as soon as it serves"
    return f"now start pylxcfs; containers have its files as soon as it serves: pylxcfs {mount_point}"


def _servers(mount_point: Path) -> list[psutil.Process]:
    """Find lxcfs' processes that were told to serve a mount point."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        words = process.info["cmdline"] or ()
        if process.info["name"] == _LXCFS and any(Path(word) == mount_point for word in words[1:]):
            found.append(process)
    return found


def _cgroups(process: psutil.Process) -> str:
    try:
        return Path(f"/proc/{process.pid}/cgroup").read_text(errors="surrogateescape")
    except OSError:
        return ""


def _has_systemd() -> bool:
    return Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None


def _is_installed() -> bool:
    command = ["systemctl", "cat", _UNIT]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603


def _systemctl(*words: str) -> None:
    """Have systemd do something; raises StartupError with what it says."""
    done = subprocess.run(["systemctl", *words], check=False, capture_output=True, text=True)  # noqa: S603, S607
    if done.returncode:
        raise StartupError(f"systemctl {' '.join(words)}: {done.stderr.strip() or done.returncode}")
