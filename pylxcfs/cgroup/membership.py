"""Which cgroup is *the container*, per hierarchy: pure rules over two /proc/PID/cgroup texts."""

from collections.abc import Callable, Collection

from pylxcfs.cgroup.types import ROOT, CgroupPath, CgroupPaths, ParseError

#: Tells whether a path of a hierarchy is its root, as far as we can know.
IsRoot = Callable[[str, CgroupPath], bool]

_INIT_SCOPE = "/init.scope"


def parse_membership(path: str, text: bytes) -> CgroupPaths:
    """Parse /proc/PID/cgroup of a living task: ``ID:CONTROLLERS:PATH`` lines (cgroups(7)).

    The kernel marks a removed v2 cgroup `` (deleted)`` (proc_cgroup_show() in kernel/cgroup/cgroup.c), but
    no cgroup can be removed while a task lives in it: here, these words are the end of a name.
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
            paths[name] = CgroupPath(cgroup)
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
    """Choose the container's cgroup in one hierarchy from the caller's and its namespace's init's; no roots.

    A caller in init's cgroup or below it belongs to init's container. Otherwise the pid namespace is
    shared by several containers (Kubernetes ``shareProcessNamespace``): the container is the caller's
    branch just below what both have in common, or the caller's own cgroup where that is only the root, or
    above our cgroup namespace's root (``/..``), where it may be the root too.
    """
    init = trim_init_scope(init)
    if is_within(caller, init):
        return init
    common = _common(caller, init)
    if all(component == ".." for component in common):
        return trim_init_scope(caller)
    return CgroupPath("/" + "/".join(caller.split("/")[1 : len(common) + 2]))


def container_paths(caller: CgroupPaths, init: CgroupPaths, is_root: IsRoot) -> CgroupPaths:
    """Apply `container_cgroup` in every hierarchy that the caller is in, as a container of its own.

    Where the caller is in the root it has nothing of its own, and init's cgroup counts; where init is, it
    claims nobody.
    """
    paths: dict[str, CgroupPath] = {}
    for name, path in own_paths(caller):
        first = trim_init_scope(init.get(name) or ROOT)
        if is_root(name, path):
            paths[name] = first
        elif is_root(name, first):
            paths[name] = path
        else:
            paths[name] = container_cgroup(caller.get(name) or path, first)
    return CgroupPaths.of(paths)


def common_paths(caller: CgroupPaths, init: CgroupPaths) -> CgroupPaths:
    """Return the deepest cgroup that holds both, in every hierarchy that the caller is in."""
    return CgroupPaths.of(
        {name: CgroupPath("/" + "/".join(_common(path, init.get(name) or ROOT))) for name, path in caller}
    )


def own_paths(caller: CgroupPaths) -> CgroupPaths:
    """Return the caller's own cgroups: what a process of the host's pid namespace is shown."""
    return CgroupPaths.of({name: trim_init_scope(path) for name, path in caller})


def find_strange(
    caller: CgroupPaths, init: CgroupPaths, deciding: Collection[str], is_root: IsRoot
) -> frozenset[str]:
    """Return those of the `deciding` hierarchies in which the caller has a cgroup that is not init's.

    Not the root, from which processes enter that have no cgroup of their own; and not below init's, unless
    that is the root, which everything is below.
    """
    strange = set()
    for name, path in caller:
        if name in deciding and not is_root(name, trim_init_scope(path)):
            first = trim_init_scope(init.get(name) or ROOT)
            if is_root(name, first) or not is_within(path, first):
                strange.add(name)
    return frozenset(strange)


def _common(caller: CgroupPath, init: CgroupPath) -> list[str]:
    common: list[str] = []
    for component, other in zip(caller.split("/")[1:], init.split("/")[1:], strict=False):
        if component != other or not component:
            break
        common.append(component)
    return common
