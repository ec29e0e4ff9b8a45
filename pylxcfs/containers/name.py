"""What an operator calls a container: by its id, its name, its cgroup. Pure."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

#: Beside systemd's ``docker-ID.scope`` and cgroupfs' ``ID``: the CRI's ``SLICE:cri-containerd:ID``.
_ID: Final = re.compile(r"(?:.*?:)?(?:(?P<prefix>[a-z][a-z-]*)[-:])?(?P<id>[0-9a-f]{64})(?:\.scope)?")
#: LXC and Incus; LXC before 4.0 has a directory of its own instead, ``lxc/NAME``.
_LXC: Final = re.compile(r"lxc\.payload\.(?P<id>.+)")
_LXC_DIRECTORY: Final = re.compile(r"(?:.*/)?lxc/(?P<id>[^/]+)(?:/.*)?")
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
#: ``docker://ID``, ``containerd://ID``: as Kubernetes tells the id (ContainerStatus.containerID).
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?P<rest>.+)")
#: Where hierarchies are mounted; v1's, and a hybrid host's v2, in a directory of their own.
_MOUNTED: Final = "/sys/fs/cgroup"

#: How well a word fits a container; the best counts alone.
EXACT, BELOW, CALLED, PREFIX = 4, 3, 2, 1


@dataclass(frozen=True, slots=True)
class Name:
    """A container's id as its runtime prints it; the cgroup alone where no id is in it."""

    cgroup: str
    container_id: str = ""
    runtime: str = ""
    #: Its cgroups in all hierarchies.
    cgroups: tuple[str, ...] = ()

    @property
    def short(self) -> str:
        """The id as ``docker ps`` shows it; empty if there is none."""
        return self.container_id[:_SHORT] if self.has_hash else self.container_id

    @property
    def has_hash(self) -> bool:
        """Whether the id is one that runtimes make, of 64 hexadecimal digits."""
        return len(self.container_id) == 64 and _ID.fullmatch(self.container_id) is not None  # noqa: PLR2004

    @property
    def identity(self) -> str:
        """What is the same for all processes of the container, and different for those of another one."""
        return self.container_id or self.cgroup

    def fits(self, word: str, called: Collection[str] = ()) -> int:
        """Tell how well an operator's word fits: 0 for not at all.

        An id or a cgroup are `EXACT`, a cgroup somewhere above is `BELOW`. `called` are the names that its
        runtime gives it. Of what was made to be unique, the beginning is enough.
        """
        scheme = _SCHEME.fullmatch(word)
        word = scheme["rest"] if scheme else word
        if word.startswith("/"):
            return max(map(self._fits_cgroup, _cgroups_at(word)), default=0)
        if not word:
            return 0
        if word == self.container_id:
            return EXACT
        own = "" if self.container_id else self.cgroup.rpartition("/")[2]
        if word in called or word == own:
            return CALLED
        return PREFIX if self.has_hash and self.container_id.startswith(word) else 0

    def _fits_cgroup(self, cgroup: str) -> int:
        if cgroup in {self.cgroup, *self.cgroups}:
            return EXACT
        return BELOW if any(path.startswith(f"{cgroup}/") for path in self.cgroups) else 0


def _cgroups_at(path: str) -> Iterable[str]:
    """Yield what a path may mean: a cgroup, or where a hierarchy's mount shows it; never a root."""
    path = "/" + path.strip("/")
    below = path.removeprefix(_MOUNTED)
    candidates = [path]
    if below != path:
        candidates = [below, "/" + below[1:].partition("/")[2]]
    return [candidate for candidate in candidates if candidate != "/" and candidate]


def name_of(cgroups: Iterable[tuple[str, str]]) -> Name:
    """Choose from a process's cgroups, by hierarchy; the innermost id in a path is the container's."""
    paths = dict(cgroups)
    everywhere = tuple(sorted({path for path in paths.values() if path != "/"}))
    for path in paths.values():
        components = path.split("/")
        for index in reversed(range(len(components))):
            found = _ID.fullmatch(components[index]) or _LXC.fullmatch(components[index])
            if found is None:
                continue
            above = components[index - 1] if index else ""
            prefix = "lxc" if found.re is _LXC else found["prefix"] or above
            runtime = "lxc" if prefix == "lxc" else _RUNTIMES.get(prefix, "")
            return Name(path, found["id"], runtime, everywhere)
    for path in paths.values():
        if found := _LXC_DIRECTORY.fullmatch(path):
            return Name(path, found["id"], "lxc", everywhere)
    return Name(next((paths[name] for name in _TELLING if name in paths), "/"), cgroups=everywhere)
