"""A patch is tried on a copy before it is sent: the API server rejects a pod whose patch does not apply."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import jsonpatch

from pylxcfs.webhook.pod import (
    CONTAINER_FIELDS,
    EPHEMERAL_FIELD,
    containers,
    sequence,
    spec_of,
    text,
    volumes,
)
from pylxcfs.webhook.settings import STATUS_ANNOTATION

_STATUS_PATH: Final = ("metadata", "annotations", STATUS_ANNOTATION)


class VerificationError(Exception):
    """The patch does not do what it should; the message says where."""


def verify(pod: Mapping[str, object], patch: Sequence[Mapping[str, object]]) -> None:
    """Raise VerificationError unless `patch` applies to `pod`, leaves all it has as it is, and is valid."""
    try:
        patched = jsonpatch.apply_patch(pod, [dict(operation) for operation in patch], in_place=False)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise VerificationError(f"does not apply: {type(error).__name__}") from error
    _check_extends(pod, patched, ())
    _check_names(pod, patched)


def _check_extends(old: object, new: object, path: tuple[str, ...]) -> None:
    """Raise unless everything in `old` is in `new`, in its place and order."""
    if old is None or path == _STATUS_PATH:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        if list(new)[: len(old)] != list(old):
            raise VerificationError(f"keys of /{'/'.join(path)} are not kept")
        for key, value in old.items():
            _check_extends(value, new[key], (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) <= len(new):
        for index, value in enumerate(old):
            _check_extends(value, new[index], (*path, str(index)))
    elif type(old) is not type(new) or old != new:
        raise VerificationError(f"/{'/'.join(path)} is not kept")


def _check_names(pod: Mapping[str, object], patched: Mapping[str, object]) -> None:
    """Raise if names or paths are there twice that were not before, or a mount has no volume."""
    names = set(volumes(patched))
    if _repeated_volumes(patched) - _repeated_volumes(pod):
        raise VerificationError("a volume is there twice")
    for field in (*CONTAINER_FIELDS, EPHEMERAL_FIELD):
        for old, new in zip(containers(pod, field), containers(patched, field), strict=True):
            added = Counter(new.mounts) - Counter(old.mounts)
            if any(mount.name not in names for mount in added):
                raise VerificationError(f"a mount at {new.pointer} has no volume")
            paths = Counter(mount.path for mount in new.mounts)
            if any(paths[mount.path] > 1 for mount in added):
                raise VerificationError(f"a path at {new.pointer} is there twice")


def _repeated_volumes(pod: Mapping[str, object]) -> set[object]:
    entries = sequence(spec_of(pod).get("volumes"), "spec.volumes")
    names = Counter(text(entry.get("name")) for entry in entries if isinstance(entry, Mapping))
    return {name for name, count in names.items() if count > 1}
