"""pylxcfs as a service of a machine with systemd."""

import json
from typing import Any, Final

from tests.support.mounts import mounts
from tests.support.systemd import SystemdMachine
from tests.support.waiting import wait_for

#: Where the machine has the installed code, and the unit the mount.
CODE: Final = "/usr/lib/pylxcfs"
MOUNT_POINT: Final = "/var/lib/lxcfs"
_DROP_IN: Final = "/run/systemd/system/pylxcfs.service.d/test.conf"


class Service:
    """The unit, and what serves."""

    def __init__(self, machine: SystemdMachine) -> None:
        """Describe the unit of a machine on which it is installed."""
        self.machine = machine

    def drop_in(self, text: str) -> None:
        """Override the unit's settings, as `systemctl edit` does."""
        path = self.machine.path(_DROP_IN)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.machine.run("systemctl", "daemon-reload")

    def show(self, name: str) -> str:
        """Return one of the unit's properties."""
        return self.machine.run("systemctl", "show", "--property", name, "--value", "pylxcfs").strip()

    def journal(self) -> str:
        """Return what it has logged since the machine was booted."""
        return self.machine.run("journalctl", "--unit=pylxcfs", "--output=cat", "--no-pager")

    def state(self) -> dict[str, Any]:
        """Return what the supervisor has written about itself; pids are the machine's."""
        content: dict[str, Any] = json.loads(self.machine.path("/run/pylxcfs/supervisor.json").read_bytes())
        return content

    def device(self) -> str | None:
        """Return the device number of the mount that all processes of the machine see, None without one."""
        table = mounts(self.machine.init_pid)
        found = [mount.device for mount in table if mount.point == MOUNT_POINT]
        return found[-1] if found else None

    def wait_for_server_after(self, generation: int) -> None:
        """Wait until a later server serves, and systemd knows it."""
        wait_for(
            "a later server serves",
            lambda: self.state()["generation"] > generation and len(self.state()["replacements"]) > 0,
        )
        wait_for("the unit is active", lambda: "running" == self.show("SubState"))
