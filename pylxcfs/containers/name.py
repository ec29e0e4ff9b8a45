"""What an operator calls a container, read from its cgroups. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_ID: Final = re.compile(r"(?:(?P<prefix>[a-z][a-z-]*)-)?(?P<id>[0-9a-f]{64})(?:\.scope)?")
_LXC: Final = re.compile(r"lxc\.payload\.(?P<id>.+)")
#: What systemd's cgroup drivers, and directories above, are called by each runtime.
_RUNTIMES: Final = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod_parent": "podman",
}
#: Hierarchies that somebody who makes groups by hand will have used; the empty name is cgroup v2.
_TELLING: Final = ("memory", "cpu", "")
_SHORT: Final = 12


@dataclass(frozen=True, slots=True)
class Name:
    """A container's id as its runtime prints it; the cgroup alone where no id is in it."""

    cgroup: str
    container_id: str = ""
    runtime: str = ""

    @property
    def short(self) -> str:
        """The id as ``docker ps`` shows it; empty if there is none."""
        is_hash = _ID.fullmatch(self.container_id) is not None
        return self.container_id[:_SHORT] if is_hash else self.container_id

    def matches(self, wanted: str) -> bool:
        """Tell whether an operator means this container: by the start of its id, or its cgroup's own name."""
        if self.container_id:
            return self.container_id.startswith(wanted)
        return self.cgroup.rpartition("/")[2] == wanted


def name_of(cgroups: Iterable[tuple[str, str]]) -> Name:
    """Choose from a process's cgroups, by hierarchy; the innermost id in a path is the container's."""
    paths = dict(cgroups)
    for path in paths.values():
        components = path.split("/")
        for index in reversed(range(len(components))):
            found = _ID.fullmatch(components[index]) or _LXC.fullmatch(components[index])
            if found is None:
                continue
            above = components[index - 1] if index else ""
            prefix = "lxc" if found.re is _LXC else found["prefix"] or above
            return Name(path, found["id"], "lxc" if prefix == "lxc" else _RUNTIMES.get(prefix, ""))
    return Name(next((paths[name] for name in _TELLING if name in paths), "/"))
