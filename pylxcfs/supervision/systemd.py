"""What systemd is told, and what it keeps for us: sd_notify(3), sd_listen_fds(3), the fd store.

Nothing here fails where there is no systemd: then nothing is told and nothing was kept.
"""

import contextlib
import os
import re
import socket
from typing import Final

_FIRST_FD: Final = 3
_UNIT: Final = re.compile(r"/([^/]+\.service)(?:/|$)", re.MULTILINE)


class Notifier:
    """Tells the service manager how we are."""

    def __init__(self, address: str | None) -> None:
        """Send to `address` ($NOTIFY_SOCKET; a leading ``@`` is an abstract name), nowhere if None."""
        self._address = None if not address else "\0" + address[1:] if address[0] == "@" else address

    @property
    def is_heard(self) -> bool:
        """Tell whether anybody listens."""
        return self._address is not None

    def tell(self, *lines: str, fds: tuple[int, ...] = ()) -> None:
        """Send ``NAME=value`` lines, with descriptors for the store; what cannot be sent is lost."""
        if self._address is None:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(self._address)
            socket.send_fds(sender, ["\n".join(lines).encode()], fds)


def inherited_descriptors() -> dict[str, int]:
    """Return the descriptors that this process was started with, by name; no child inherits them."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = int(os.environ.get("LISTEN_FDS", "0"))
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = dict(zip(names, range(_FIRST_FD, _FIRST_FD + count), strict=False))
    for fd in found.values():
        os.set_inheritable(fd, False)  # noqa: FBT003 - the function's own interface
    return found


def pass_descriptor(name: str, fd: int) -> dict[str, str]:
    """Make `fd` what `inherited_descriptors` finds in the program that this process executes next.

    Returns the variables to add to its environment.
    """
    os.dup2(fd, _FIRST_FD, inheritable=True)
    if fd == _FIRST_FD:
        os.set_inheritable(fd, True)  # noqa: FBT003 - as above
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": name}


def watchdog_seconds() -> float | None:
    """Return how often the service manager wants to hear from this process, None for never."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    if not usec.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(usec) / 1_000_000


def unit_of(membership: str) -> str | None:
    """Return the service whose cgroup is among those of /proc/PID/cgroup, None if none is."""
    unit = _UNIT.search(membership)
    return None if unit is None else unit[1]


def is_being_restarted(membership: str) -> bool:
    """Tell whether the unit of the cgroups in `membership` is stopped only to be started again at once.

    SIGTERM does not say: the type of the unit's job does.
    """
    # Only now, at the very end: the supervisor should stay small.
    import subprocess  # noqa: PLC0415

    unit = unit_of(membership)
    if unit is None:
        return False
    command = ["systemctl", "list-jobs", "--no-legend", "--plain", "--no-pager", unit]
    try:
        jobs = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return False
    # "123 pylxcfs.service restart running"
    return any(line.split()[1:3] == [unit, "restart"] for line in jobs.stdout.splitlines())
