"""What runtimes write about a container on the host, as far as it names it. Pure: text in, names out.

The formats are no interfaces, so whatever does not look as expected names nothing.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

#: Of the OCI bundle's config.json: (namespace, pod, container) as containerd's CRI and CRI-O annotate them.
_POD_ANNOTATIONS: Final = (
    (
        "io.kubernetes.cri.sandbox-namespace",
        "io.kubernetes.cri.sandbox-name",
        "io.kubernetes.cri.container-name",
    ),
    ("io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.container.name"),
)
_NERDCTL: Final = "nerdctl/name"
#: What docker binds into every container from its own directory for it.
_DOCKER_FILES: Final = frozenset({"hostname", "hosts", "resolv.conf"})


def docker_names(config_v2: bytes, container_id: str) -> tuple[str, ...]:
    """Read docker's config.v2.json: its name, and Kubernetes' if cri-dockerd made it."""

    def names(config: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
        if config["ID"] == container_id:
            yield config["Name"].removeprefix("/")
            yield from _pod_names((config.get("Config") or {}).get("Labels") or {})

    return _read(config_v2, names)


def bundle_names(config: bytes) -> tuple[str, ...]:
    """Read an OCI bundle's config.json: nerdctl's name, or the names of container and pod."""

    def names(config: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
        annotations = config.get("annotations") or {}
        if _NERDCTL in annotations:
            yield annotations[_NERDCTL]
        yield from _pod_names(annotations)

    return _read(config, names)


def storage_names(containers: bytes, container_id: str) -> tuple[str, ...]:
    """Read containers.json of containers/storage, which podman and CRI-O keep all containers' names in."""

    def names(containers: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
        for each in containers:
            if each["id"] == container_id:
                yield from each.get("names") or ()

    return _read(containers, names)


def docker_directory(config: bytes, container_id: str) -> str | None:
    """Return where docker keeps the files of a container, from its OCI bundle's config.json."""

    def directories(config: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
        for mount in config.get("mounts") or ():
            directory, _, file = mount.get("source", "").rpartition("/")
            if file in _DOCKER_FILES and directory.endswith(f"/containers/{container_id}"):
                yield directory

    return next(iter(_read(config, directories)), None)


def bundle_of_conmon(command: bytes) -> str | None:
    """Return the bundle that conmon(8), the monitor of podman and CRI-O, was started for."""
    words = command.split(b"\0")
    for option, value in itertools.pairwise(words):
        if option in {b"-b", b"--bundle"}:
            return value.decode(errors="surrogateescape")
    return None


def _pod_names(annotations: dict[str, str]) -> Iterator[str]:
    for namespace, pod, container in _POD_ANNOTATIONS:
        if container in annotations and pod in annotations:
            name = annotations[container]
            yield name
            yield f"{annotations[pod]}/{name}"
            if namespace in annotations:
                yield f"{annotations[namespace]}/{annotations[pod]}/{name}"


def _checked(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(name)
    return name


def _read(text: bytes, names: Callable[[Any], Iterable[str]]) -> tuple[str, ...]:
    try:
        return tuple(name for name in map(_checked, names(json.loads(text))) if name)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ()
