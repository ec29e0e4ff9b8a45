"""CDI specification: one ``--device`` in place of nine binds. Pure.

Source: Container Device Interface, SPEC.md, version 0.3.0, which podman >= 4.1 and docker >= 25 read.
"""

from collections.abc import Iterable
from typing import Any, Final

from pylxcfs.procfiles.binds import bindable

KIND: Final = "pylxcfs.io/proc"
ALL: Final = "all"
_VERSION: Final = "0.3.0"
_OPTIONS: Final = ("rbind", "ro", "nosuid", "nodev", "noexec")


def specification(mount_point: str, paths: Iterable[str]) -> dict[str, Any]:
    """Return the document for those of `paths` (like ``proc/meminfo``) that runc lets through.

    Device ``all`` has all of them, and each has a device of its own: ``meminfo``, ``cpu``.
    """
    mounts = {path.rpartition("/")[2]: _mount(mount_point, path) for path in bindable(paths)}
    devices = {ALL: list(mounts.values())} | {name: [mount] for name, mount in mounts.items()}
    return {
        "cdiVersion": _VERSION,
        "kind": KIND,
        "devices": [{"name": name, "containerEdits": {"mounts": edits}} for name, edits in devices.items()],
    }


def _mount(mount_point: str, path: str) -> dict[str, Any]:
    return {
        "hostPath": f"{mount_point}/{path}",
        "containerPath": f"/{path}",
        "options": list(_OPTIONS),
    }
