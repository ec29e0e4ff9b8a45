"""How docker, podman and containerd are told of another runtime: their configuration in, and out. Pure.

What is there stays as it is, comments and order included (TOML), or in the same order (JSON).

Sources: dockerd(8), "Daemon configuration file"; containers.conf(5), "ENGINE TABLE"; docs/cri/config.md of
containerd.
"""

import json
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pylxcfs.errors import StartupError
from pylxcfs.runtime.programs import CRUN_WRAPPER, WRAPPER

NAME: Final = "pylxcfs"
_CONTAINERD_V2: Final = "io.containerd.grpc.v1.cri"
#: Of configuration version 3, since containerd 2.0.
_CONTAINERD_V3: Final = "io.containerd.cri.v1.runtime"


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that starts containers, and its configuration file."""

    name: str
    path: Path
    #: Which of our programs it is to execute.
    program: str
    #: (text, path of our program, whether it becomes the default) -> text; raises ValueError.
    add: Callable[[str, str, bool], str]
    #: text -> text without what `add` has added; raises ValueError.
    remove: Callable[[str], str]
    #: What an operator has to do for the change to take effect.
    then: str


def add_runtime(engine: Engine, text: str, directory: Path, *, default: bool) -> str:
    """Return an engine's configuration with our runtime; StartupError where it cannot be read."""
    return _edited(engine, text, lambda: engine.add(text, str(directory / engine.program), default))


def remove_runtime(engine: Engine, text: str) -> str:
    """Return an engine's configuration without our runtime; StartupError where it cannot be read."""
    return _edited(engine, text, lambda: engine.remove(text))


def _edited(engine: Engine, text: str, edit: Callable[[], str]) -> str:
    try:
        return edit()
    except (ValueError, TOMLKitError, TypeError, KeyError, AttributeError) as error:
        lines = len(text.splitlines())
        raise StartupError(
            f"{engine.path} ({lines} lines) cannot be edited, nothing is changed: {error}"
        ) from error


def _add_docker(text: str, program: str, default: bool) -> str:  # noqa: FBT001 - one signature for all engines
    document = json.loads(text or "{}")
    document.setdefault("runtimes", {})[NAME] = {"path": program}
    if default:
        document["default-runtime"] = NAME
    return json.dumps(document, indent=4) + "\n"


def _remove_docker(text: str) -> str:
    document = json.loads(text or "{}")
    _drop(document, "runtimes", NAME)
    if document.get("default-runtime") == NAME:
        del document["default-runtime"]
    return json.dumps(document, indent=4) + "\n"


def _add_podman(text: str, program: str, default: bool) -> str:  # noqa: FBT001 - as above
    document = tomlkit.parse(text)
    engine = _table(document, "engine")
    if default:
        engine["runtime"] = NAME
    _table(engine, "runtimes")[NAME] = [program]
    return tomlkit.dumps(document)


def _remove_podman(text: str) -> str:
    document = tomlkit.parse(text)
    engine = document.get("engine", {})
    if engine.get("runtime") == NAME:
        del engine["runtime"]
    _drop(engine, "runtimes", NAME)
    if not engine:
        document.pop("engine", None)
    return tomlkit.dumps(document)


def _add_containerd(text: str, program: str, default: bool) -> str:  # noqa: FBT001 - as above
    document = tomlkit.parse(text)
    if "version" not in document:
        # Without it containerd 1 reads version 1, which has other names for the plugins.
        document["version"] = 2
    containerd = _containerd(document)
    if default:
        containerd["default_runtime_name"] = NAME
    runtime = _table(_table(containerd, "runtimes"), NAME)
    runtime["runtime_type"] = "io.containerd.runc.v2"
    _table(runtime, "options")["BinaryName"] = program
    return tomlkit.dumps(document)


def _remove_containerd(text: str) -> str:
    document = tomlkit.parse(text)
    containerd = _containerd(document)
    if containerd.get("default_runtime_name") == NAME:
        del containerd["default_runtime_name"]
    _drop(containerd, "runtimes", NAME)
    return tomlkit.dumps(document)


def _containerd(document: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    version = document.get("version", 2)
    plugin = _CONTAINERD_V3 if version >= 3 else _CONTAINERD_V2  # noqa: PLR2004 - named where they are defined
    return _table(_table(_table(document, "plugins"), plugin), "containerd")


def _table(parent: MutableMapping[str, Any], name: str) -> MutableMapping[str, Any]:
    if name not in parent:
        # A table that has only tables needs no line of its own.
        parent[name] = tomlkit.table(is_super_table=True)
    table: MutableMapping[str, Any] = parent[name]
    return table


def _drop(document: MutableMapping[str, Any], table: str, name: str) -> None:
    """Remove an entry, and its table if nothing else is in it."""
    if table in document:
        document[table].pop(name, None)
        if not document[table]:
            del document[table]


ENGINES: Final = (
    Engine(
        "docker",
        Path("/etc/docker/daemon.json"),
        WRAPPER,
        _add_docker,
        _remove_docker,
        "systemctl reload docker (running containers go on)",
    ),
    Engine(
        "podman",
        Path("/etc/containers/containers.conf"),
        CRUN_WRAPPER,
        _add_podman,
        _remove_podman,
        "nothing: podman reads it at every start",
    ),
    Engine(
        "containerd",
        Path("/etc/containerd/config.toml"),
        WRAPPER,
        _add_containerd,
        _remove_containerd,
        "systemctl restart containerd (running containers go on)",
    ),
)
