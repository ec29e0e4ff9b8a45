"""Reading a pod as the API server sends it: fields we do not know, nulls, and no promises."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from posixpath import normpath
from typing import Final

#: In the order in which the kubelet starts them; ephemeral ones come later, through a subresource.
CONTAINER_FIELDS: Final = ("initContainers", "containers")
EPHEMERAL_FIELD: Final = "ephemeralContainers"


class MalformedError(Exception):
    """A field has a type that no pod has there; the message names the field."""


def mapping(value: object, field: str) -> Mapping[str, object]:
    """Return a JSON object, empty where there is none or null."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise MalformedError(f"{field} is not an object")
    return value


def sequence(value: object, field: str) -> Sequence[object]:
    """Return a JSON array, empty where there is none or null."""
    if value is None:
        return ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise MalformedError(f"{field} is not an array")
    return value


def text(value: object) -> str:
    """Return a string, empty where there is none."""
    return value if isinstance(value, str) else ""


def spec_of(pod: Mapping[str, object]) -> Mapping[str, object]:
    """Return the pod's spec."""
    return mapping(pod.get("spec"), "spec")


def metadata_map(pod: Mapping[str, object], field: str) -> Mapping[str, object]:
    """Return the pod's labels or annotations."""
    metadata = mapping(pod.get("metadata"), "metadata")
    return mapping(metadata.get(field), f"metadata.{field}")


@dataclass(frozen=True, slots=True)
class Mount:
    """An entry of a container's volumeMounts."""

    #: Of its volume.
    name: str
    #: Absolute, without "..", doubled and trailing slashes.
    path: str

    def overlaps(self, target: str) -> bool:
        """Tell whether it is at, above or below `target`: one of the two would hide the other."""
        return self.path == target or _below(self.path, target) or _below(target, self.path)


def _below(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip("/") + "/")


@dataclass(frozen=True, slots=True)
class Container:
    """A container of any sort, and where its mounts are in the pod's document."""

    name: str
    #: JSON pointer (RFC 6901) of its volumeMounts.
    pointer: str
    mounts: tuple[Mount, ...]
    #: There is an array to append to: not absent, null or empty.
    has_array: bool


def containers(pod: Mapping[str, object], field: str) -> Iterator[Container]:
    """Yield the containers in a field of the pod's spec."""
    for index, value in enumerate(sequence(spec_of(pod).get(field), f"spec.{field}")):
        where = f"spec.{field}[{index}]"
        if not isinstance(value, Mapping):
            raise MalformedError(f"{where} is not an object")
        mounts = [
            mapping(mount, f"{where}.volumeMounts[{number}]")
            for number, mount in enumerate(sequence(value.get("volumeMounts"), f"{where}.volumeMounts"))
        ]
        yield Container(
            name=text(value.get("name")),
            pointer=f"/spec/{field}/{index}/volumeMounts",
            mounts=tuple(
                # A relative path counts from the container's root; normpath() would keep two leading slashes.
                Mount(text(mount.get("name")), normpath("/" + text(mount.get("mountPath")).lstrip("/")))
                for mount in mounts
                if text(mount.get("mountPath"))
            ),
            has_array=bool(mounts),
        )


def volumes(pod: Mapping[str, object]) -> Mapping[str, Mapping[str, object]]:
    """Return the pod's volumes by name."""
    entries = sequence(spec_of(pod).get("volumes"), "spec.volumes")
    found = (mapping(entry, f"spec.volumes[{index}]") for index, entry in enumerate(entries))
    return {text(volume.get("name")): volume for volume in found}
