"""Data flows one way, and so do imports."""

import ast
from pathlib import Path

import pytest

import pylxcfs

_PACKAGE = Path(pylxcfs.__file__).parent

#: The rooms, ground floor first: a module imports only from its own room and those below it. Only rooms on
#: one line may not know each other either.
ROOMS = (
    {"linux", "errors", "config", "console"},
    {"rundir"},
    {"cgroup"},
    {"containers"},
    {"accounting"},
    {"view"},
    {"procfiles"},
    {"content"},
    {"fuse"},
    {"supervision"},
    {"cli"},
    {"status"},
    {"reattach", "runtime", "webhook"},
    {"diagnosis"},
    {"server", "ctl"},
)
_PURE_CGROUP = (
    "cgroup.parse",
    "cgroup.mountroot",
    "cgroup.types",
    "cgroup.membership",
    "cgroup.effective",
)
_PURE_WEBHOOK = tuple(
    f"webhook.{name}"
    for name in ("settings", "pod", "rules", "selection", "patch", "verification", "review", "certificates")
)
_SUBJECTS = (
    *("binds", "cgroups", "daemon", "finding", "kernel"),
    *("mount", "other_mounts", "python", "runtimes", "security", "service", "space", "surroundings"),
)
_PURE = (
    "accounting.cpu_ledger",
    "accounting.hugepages",
    "accounting.load_average",
    "containers.container",
    "containers.name",
    "containers.procpid",
    "containers.runtime_state",
    "content.counters",
    *(f"diagnosis.{name}" for name in _SUBJECTS),
    "fuse.frames",
    "reattach.protocol",
    "status.document",
    "supervision.crash_loop",
    "supervision.protocol",
    "view.resources",
    *_PURE_CGROUP,
    *_PURE_WEBHOOK,
)
_OUTSIDE_WORLD = {
    "os",
    "psutil",
    "trio",
    "subprocess",
    "socket",
    "time",
    "pathlib",
    "ssl",
    "httpx",
    "hypercorn",
}
#: Of the extra: the daemon runs without them.
_WEBHOOK_ONLY = {"cryptography", "httpx", "hypercorn", "jsonpatch", "prometheus_client", "ruamel"}
#: The file system's own; all else can be imported where pyfuse3 is not.
_KNOW_PYFUSE3 = {f"fuse.{name}" for name in ("driver", "handles", "hostnodes", "node", "operations", "tree")}


def _modules() -> dict[str, set[str]]:
    """Return every module's imports, by its name below the package."""
    found = {}
    for path in sorted(_PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(_PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        imports: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imports.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                imports.update(names if node.module == "pylxcfs" else {node.module})
        found[name] = imports
    return found


MODULES = _modules()


def _floor(name: str) -> int:
    return next(number for number, rooms in enumerate(ROOMS) if name.partition(".")[0] in rooms)


@pytest.mark.parametrize("name", sorted(MODULES.keys() - {"__init__"}))
def test_imports_go_one_way(name: str) -> None:
    """No module imports from a room that is above its own, or beside it."""
    ours = {i.removeprefix("pylxcfs.") for i in MODULES[name] if i.startswith("pylxcfs.")}
    room = name.partition(".")[0]
    others = {i for i in ours - {"__version__"} if i.partition(".")[0] != room}
    assert [] == [i for i in sorted(others) if _floor(i) >= _floor(name)]


@pytest.mark.parametrize("name", sorted(n for n in MODULES if n in _PURE or n.startswith("procfiles")))
def test_pure_modules_touch_nothing(name: str) -> None:
    """What computes and renders imports nothing that reaches the system."""
    assert set() == {i.partition(".")[0] for i in MODULES[name]} & _OUTSIDE_WORLD


@pytest.mark.parametrize("name", sorted(n for n in MODULES if not n.startswith("webhook")))
def test_only_the_webhook_needs_the_extra(name: str) -> None:
    """What the webhook's extra brings is imported nowhere else."""
    assert set() == {i.partition(".")[0] for i in MODULES[name]} & _WEBHOOK_ONLY


def test_only_the_composition_roots_know_trio() -> None:
    """What serves a request cannot reach the control plane's event loop."""
    assert {"server", "webhook.server"} == {name for name, imports in MODULES.items() if "trio" in imports}


def test_the_supervisor_does_not_load_pyfuse3() -> None:
    """It imports little, so little can go wrong, and it is small; the server alone loads pyfuse3."""
    seen: set[str] = set()
    waiting = {"cli", "supervision.holder", "reattach.__main__"}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        imported = {i.removeprefix("pylxcfs.") for i in MODULES[name] if i.startswith("pylxcfs.")}
        waiting |= (imported & MODULES.keys()) - seen
    assert set() == {name for name in seen if "pyfuse3" in MODULES[name]}
    assert {name for name, imports in MODULES.items() if "pyfuse3" in imports} == _KNOW_PYFUSE3
