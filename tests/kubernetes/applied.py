"""Patches applied by others, and what a pod has afterwards."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonpatch

from pylxcfs.webhook.patch import Decision

#: Of the wheel, beside this Python.
KUBECTL = str(Path(sys.executable).parent / "kubectl")

_NAMES = {"/sys/devices/system/cpu": "cpu"}


def operations(decision: Decision) -> list[dict[str, Any]]:
    """Return the patch as it is sent."""
    sent: list[dict[str, Any]] = json.loads(json.dumps([addition.as_json() for addition in decision.patch]))
    return sent


def apply(pod: dict[str, Any], decision: Decision) -> dict[str, Any]:
    """Return the pod with the patch applied."""
    patched: dict[str, Any] = jsonpatch.apply_patch(copy.deepcopy(pod), operations(decision))
    return patched


def kubectl_apply(pod: dict[str, Any], decision: Decision, directory: Path) -> dict[str, Any]:
    """Return the pod with the patch applied by kubectl, whose library is that of the API server."""
    file = directory / "pod.json"
    file.write_text(json.dumps(pod))
    command = [KUBECTL, "patch", "--local", "--type=json", "-f", str(file), "-o", "json"]
    run = subprocess.run(
        [*command, "-p", json.dumps(operations(decision))], capture_output=True, text=True, check=False
    )
    assert (0, "") == (run.returncode, run.stderr)
    patched: dict[str, Any] = json.loads(run.stdout)
    return patched


def files(pod: dict[str, Any]) -> dict[str, frozenset[str]]:
    """Return which of our files each container has, by the container's name."""
    sources = {
        volume["name"]: volume.get("hostPath", {}).get("path", "") for volume in pod["spec"]["volumes"] or []
    }
    found = {}
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod["spec"].get(field) or []:
            mounts = container.get("volumeMounts") or []
            ours = [m for m in mounts if sources.get(m["name"], "") == f"/var/lib/lxcfs{m['mountPath']}"]
            assert all(m["readOnly"] for m in ours)
            found[container["name"]] = frozenset(
                _NAMES.get(m["mountPath"], m["mountPath"].removeprefix("/proc/")) for m in ours
            )
    return found


def assert_valid(pod: dict[str, Any]) -> None:
    """Check what the API server demands of volumes and mounts, and schemas do not."""
    volumes = [volume["name"] for volume in pod["spec"].get("volumes") or []]
    assert len(set(volumes)) == len(volumes)
    for field in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod["spec"].get(field) or []:
            mounts = container.get("volumeMounts") or []
            paths = [m["mountPath"] for m in mounts]
            assert len(set(paths)) == len(paths)
            assert {m["name"] for m in mounts} <= set(volumes)
            if field == "ephemeralContainers":
                assert not any("subPath" in m for m in mounts)
