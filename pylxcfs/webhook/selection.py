"""What the containers of a pod ask for by its annotations."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pylxcfs.webhook.pod import text
from pylxcfs.webhook.settings import (
    CONTAINER_FILES_PREFIX,
    CONTAINERS_ANNOTATION,
    EXCLUDE_ANNOTATION,
    FILES_ANNOTATION,
    InjectedFile,
    Settings,
)

#: In place of names: nothing.
_NONE = "none"


def words(value: object) -> tuple[str, ...]:
    """Split a comma separated list."""
    return tuple(filter(None, map(str.strip, text(value).split(","))))


@dataclass(frozen=True, slots=True)
class Selection:
    """The annotations of one pod, ready to be asked about its containers."""

    annotations: Mapping[str, object]
    settings: Settings

    def files(self, container: str) -> tuple[InjectedFile, ...]:
        """Return what the container of that name is to have."""
        only = self.annotations.get(CONTAINERS_ANNOTATION)
        if (only is not None and container not in words(only)) or container in self._excluded():
            return ()
        asked = self.annotations.get(
            f"{CONTAINER_FILES_PREFIX}{container}", self.annotations.get(FILES_ANNOTATION)
        )
        return self.settings.named(self.settings.default_names if asked is None else words(asked))

    def complaints(self, containers: Iterable[str]) -> tuple[str, ...]:
        """Say which annotations name what is not there; `containers` are the pod's."""
        known_containers = frozenset(containers)
        known_files = {_NONE, *(file.name for file in self.settings.files)}
        found = []
        for key, value in self.annotations.items():
            if key in {CONTAINERS_ANNOTATION, EXCLUDE_ANNOTATION}:
                found += [
                    f"{key}: no container {name}" for name in words(value) if name not in known_containers
                ]
            elif key == FILES_ANNOTATION or key.startswith(CONTAINER_FILES_PREFIX):
                found += [f"{key}: no file {name}" for name in words(value) if name not in known_files]
                container = key.removeprefix(CONTAINER_FILES_PREFIX)
                if key != FILES_ANNOTATION and container not in known_containers:
                    found.append(f"{key}: no container {container}")
        return tuple(found)

    def _excluded(self) -> tuple[str, ...]:
        return words(self.annotations.get(EXCLUDE_ANNOTATION))
