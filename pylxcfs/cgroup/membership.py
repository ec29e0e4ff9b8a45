"""Which cgroup is *the container*, per hierarchy: pure rules over two /proc/PID/cgroup texts."""

from pylxcfs.cgroup.types import ROOT, CgroupPath, CgroupPaths, ParseError

_INIT_SCOPE = "/init.scope"


def parse_membership(path: str, text: bytes) -> CgroupPaths:
    """Parse /proc/PID/cgroup: ``ID:CONTROLLERS:PATH`` lines (cgroups(7)).

    A cgroup that was removed under its process is marked `` (deleted)`` by the kernel; the mark is not
    part of the path.
    """
    paths: dict[str, CgroupPath] = {}
    damaged = None
    # Not splitlines: a container may give a cgroup a name with any line separator but the kernel's.
    for line in text.decode(errors="surrogateescape").removesuffix("\n").split("\n"):
        _id, _, rest = line.partition(":")
        names, _, cgroup = rest.partition(":")
        if not cgroup.startswith("/"):
            damaged = line
            continue
        for name in names.split(","):
            paths[name] = CgroupPath(cgroup.removesuffix(" (deleted)"))
    if damaged is not None and not paths:
        raise ParseError(path, damaged.encode(errors="surrogateescape"))
    return CgroupPaths.of(paths)


def trim_init_scope(path: CgroupPath) -> CgroupPath:
    """Drop a trailing ``/init.scope``: systemd inside a container moves itself there."""
    return CgroupPath(path.removesuffix(_INIT_SCOPE) or ROOT)


def is_within(path: str, ancestor: str) -> bool:
    """Tell whether `path` is `ancestor` or below it, by whole components.

    ``/../x`` is outside of our cgroup namespace, whose root is ``/``: not below it.
    """
    if ancestor == path:
        return True
    below = path.removeprefix(ancestor.rstrip("/") + "/")
    return below != path and below.partition("/")[0] != ".."


def container_cgroup(caller: CgroupPath, init: CgroupPath) -> CgroupPath:
    """Choose the container's cgroup in one hierarchy from the caller's and its namespace's init's.

    A caller in init's cgroup or below it belongs to init's container. Otherwise the pid namespace is
    shared by several containers (Kubernetes ``shareProcessNamespace``): the container is the caller's
    branch just below what both have in common, or the caller's own cgroup where that is only the root, or
    above our cgroup namespace's root (``/..``), where it may be the root too.
    """
    init = trim_init_scope(init)
    if is_within(caller, init):
        return init
    common: list[str] = []
    mine = caller.split("/")[1:]
    for component, other in zip(mine, init.split("/")[1:], strict=False):
        if component != other:
            break
        common.append(component)
    if all(component == ".." for component in common):
        return trim_init_scope(caller)
    return CgroupPath("/" + "/".join(mine[: len(common) + 1]))


def container_paths(caller: CgroupPaths, init: CgroupPaths) -> CgroupPaths:
    """Apply `container_cgroup` in every hierarchy that the caller is in."""
    return CgroupPaths.of({name: container_cgroup(path, init.get(name) or ROOT) for name, path in caller})


def own_paths(caller: CgroupPaths) -> CgroupPaths:
    """Return the caller's own cgroups: what a process of the host's pid namespace is shown."""
    return CgroupPaths.of({name: trim_init_scope(path) for name, path in caller})


def shares_init_cgroup(caller: CgroupPaths, init: CgroupPaths) -> bool:
    """Tell whether the caller is in init's cgroup, or below it, in every hierarchy."""
    return all(is_within(path, trim_init_scope(init.get(name) or ROOT)) for name, path in caller)
