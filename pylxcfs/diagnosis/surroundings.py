"""Where pylxcfs runs, as far as advice depends on it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What there is to start and stop services with."""

    has_systemd: bool = True
    #: In a container of its own: what runs there is started by whoever runs the container.
    in_container: bool = False

    @property
    def start(self) -> str:
        """How pylxcfs is started."""
        if self.in_container:
            return "start its container anew (docker start, or delete the pod)"
        return "systemctl start pylxcfs" if self.has_systemd else "pylxcfs MOUNTPOINT"

    @property
    def restart(self) -> str:
        """How a supervisor that does not do its work is replaced."""
        if self.in_container:
            return "restart its container"
        return "systemctl restart pylxcfs" if self.has_systemd else "end it with SIGKILL, and start it again"
