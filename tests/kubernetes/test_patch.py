"""What pods are given: every edge case, by three judges of the patch."""

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from pylxcfs.webhook.patch import decide, decide_ephemeral
from pylxcfs.webhook.rules import Reason
from pylxcfs.webhook.settings import Settings
from pylxcfs.webhook.verification import VerificationError, verify
from tests.kubernetes.applied import apply, assert_valid, files, kubectl_apply, operations
from tests.kubernetes.pods import (
    ALL,
    CASES,
    OWN_VOLUME,
    PROC,
    TOKEN_MOUNT,
    TOKEN_VOLUME,
    Case,
    container,
    mount,
    our_volume,
    pod,
)

INJECTED = [case for case in CASES if case.reason is Reason.INJECTED]
NEWEST = "1.37"


def _ids(cases: tuple[Case, ...] | list[Case]) -> list[str]:
    return [case.name for case in cases]


@pytest.mark.parametrize("case", CASES, ids=_ids(CASES))
def test_decision(case: Case) -> None:
    """Each pod gets what its row says, for the reason that its row says."""
    decision = decide(case.pod, case.namespace, Settings())
    assert case.reason == decision.reason
    assert (case.reason is Reason.INJECTED) == bool(decision.patch)
    if case.warning:
        assert any(case.warning in warning for warning in decision.warnings), decision.warnings
    else:
        assert () == decision.warnings
    if case.files:
        assert dict(case.files) == files(apply(case.pod, decision))


@pytest.mark.parametrize("case", INJECTED, ids=_ids(INJECTED))
def test_second_time(case: Case) -> None:
    """What has been injected is not injected again."""
    patched = apply(case.pod, decide(case.pod, case.namespace, Settings()))
    again = decide(patched, case.namespace, Settings())
    assert (Reason.UP_TO_DATE, ()) == (again.reason, again.patch)


@pytest.mark.parametrize("case", INJECTED, ids=_ids(INJECTED))
def test_result_is_valid(case: Case) -> None:
    """Names are unique, mounts have volumes, and all operations are additions."""
    decision = decide(case.pod, case.namespace, Settings())
    assert {"add"} == {operation["op"] for operation in operations(decision)}
    assert_valid(apply(case.pod, decision))


@pytest.mark.parametrize("case", INJECTED, ids=_ids(INJECTED))
def test_kubectl_agrees(case: Case, tmp_path: Path) -> None:
    """The API server's library applies the patch too, with the same result."""
    decision = decide(case.pod, case.namespace, Settings())
    subject = json.loads(json.dumps(case.pod))
    assert apply(subject, decision) == kubectl_apply(subject, decision, tmp_path)


@pytest.mark.parametrize("case", INJECTED, ids=_ids(INJECTED))
def test_result_fits_the_schema(case: Case) -> None:
    """A pod that the API's schema accepts is accepted after injection."""
    before = json.loads(json.dumps(case.pod))
    before["spec"].pop("aFieldOfNextYear", None)
    before.setdefault("apiVersion", "v1")
    kubernetes_validate.validate(before, NEWEST, strict=True)
    after = apply(before, decide(before, case.namespace, Settings()))
    kubernetes_validate.validate(after, NEWEST, strict=True)


@pytest.mark.parametrize(
    "subject",
    [
        {**pod(), "metadata": {"labels": {"pylxcfs.io/inject": [], "app.kubernetes.io/part-of": {}}}},
        pod(annotations={"pylxcfs.io/files": 7, "pylxcfs.io/containers": [], "pylxcfs.io/files.app": {}}),
        pod(
            os={"name": ["windows"]}, nodeSelector={"kubernetes.io/os": {}}, runtimeClassName=7, hostUsers="x"
        ),
        pod(
            {"name": {}, "volumeMounts": [{"name": [], "mountPath": {}}]},
            volumes=[{"name": []}, {"name": {}}],
        ),
        pod(volumes=[{}, {"name": None}]),
    ],
)
def test_values_of_wrong_types(subject: dict[str, Any]) -> None:
    """No API server sends these; they are no errors of ours."""
    assert decide(subject, "shop", Settings()).reason in {Reason.INJECTED, Reason.NOTHING_TO_ADD}


def test_typical_patch() -> None:
    """Volumes are appended, then mounts, then the status; each once."""
    settings = Settings(default_names=frozenset({"meminfo", "cpu"}))
    cpu = "sys-devices-system-cpu"
    expected = [
        {"op": "add", "path": "/spec/volumes/-", "value": our_volume()},
        {
            "op": "add",
            "path": "/spec/volumes/-",
            "value": {
                "name": f"pylxcfs-{cpu}",
                "hostPath": {"path": "/var/lib/lxcfs/sys/devices/system/cpu", "type": "Directory"},
            },
        },
        {
            "op": "add",
            "path": "/spec/containers/0/volumeMounts/-",
            "value": {"name": "pylxcfs-proc-meminfo", "mountPath": "/proc/meminfo", "readOnly": True},
        },
        {
            "op": "add",
            "path": "/spec/containers/0/volumeMounts/-",
            "value": {"name": f"pylxcfs-{cpu}", "mountPath": "/sys/devices/system/cpu", "readOnly": True},
        },
        {"op": "add", "path": "/metadata/annotations/pylxcfs.io~1status", "value": "meminfo,cpu"},
    ]
    assert expected == operations(decide(pod(annotations={"x": "y"}), "shop", settings))


def test_no_volume_that_nobody_mounts() -> None:
    """A file that no container gets has no volume."""
    subject = pod(
        container(volumeMounts=[mount("/proc/stat")]),
        container("log", volumeMounts=[mount("/proc/stat")]),
        volumes=[OWN_VOLUME],
    )
    patched = apply(subject, decide(subject, "shop", Settings()))
    names = {volume["name"] for volume in patched["spec"]["volumes"]}
    assert "pylxcfs-proc-meminfo" in names
    assert "pylxcfs-proc-stat" not in names


def test_mount_point() -> None:
    """The volumes come from where the daemon serves."""
    patch = operations(decide(pod(volumes=None), "shop", Settings(mount_point="/run/lxcfs")))
    assert "/run/lxcfs/proc/cpuinfo" == patch[0]["value"][0]["hostPath"]["path"]


@pytest.mark.parametrize(
    "settings,subject,expected",
    [
        (
            Settings(init_containers=False),
            pod(initContainers=[container("i")]),
            {"app": ALL, "i": frozenset()},
        ),
        (Settings(host_pid=True), pod(hostPID=True), {"app": ALL}),
        (Settings(skipped_runtime_classes=()), pod(runtimeClassName="kata"), {"app": ALL}),
        (Settings(excluded_namespaces=frozenset()), pod(), {"app": ALL}),
        (Settings(default_names=PROC), pod(), {"app": PROC}),
    ],
)
def test_settings(settings: Settings, subject: dict[str, Any], expected: dict[str, frozenset[str]]) -> None:
    """An operator decides about init containers, hostPID, runtime classes, namespaces and files."""
    assert expected == files(
        apply(
            subject, decide(subject, "kube-system" if not settings.excluded_namespaces else "shop", settings)
        )
    )


def _debugged(*ephemeral: dict[str, Any], volumes: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    existing = [TOKEN_VOLUME, our_volume()] if volumes is None else volumes
    return pod(volumes=existing, ephemeralContainers=list(ephemeral))


def test_ephemeral_container() -> None:
    """A new ephemeral container gets the files that its pod has volumes for; nothing else changes."""
    old = _debugged({"name": "first", "image": "busybox"})
    new = _debugged({"name": "first", "image": "busybox"}, {"name": "second", "image": "busybox"})
    decision = decide_ephemeral(new, old, "shop", Settings())
    assert ["/spec/ephemeralContainers/1/volumeMounts"] == [a.path for a in decision.patch]
    patched = apply(new, decision)
    assert {"first": frozenset(), "second": {"meminfo"}, "app": frozenset()} == files(patched)
    assert_valid(patched)
    assert () == decide_ephemeral(patched, old, "shop", Settings()).patch


def test_ephemeral_container_of_a_pod_without_files() -> None:
    """Where the pod has none of our volumes, its ephemeral containers get nothing."""
    new = _debugged({"name": "first"}, volumes=[TOKEN_VOLUME])
    decision = decide_ephemeral(new, _debugged(volumes=[TOKEN_VOLUME]), "shop", Settings())
    assert (Reason.NOTHING_TO_ADD, ()) == (decision.reason, decision.patch)


def test_ephemeral_container_with_a_mount_of_its_own() -> None:
    """A mount that the user asked for stays the only one at its place."""
    new = _debugged({"name": "first", "volumeMounts": [TOKEN_MOUNT, mount("/proc", TOKEN_MOUNT["name"])]})
    decision = decide_ephemeral(new, _debugged(), "shop", Settings())
    assert ((), 1) == (decision.patch, decision.conflicts)


@pytest.mark.parametrize(
    "patch,message",
    [
        ([{"op": "add", "path": "/metadata/labels/x/y", "value": 1}], "does not apply"),
        ([{"op": "remove", "path": "/spec/restartPolicy"}], "not kept"),
        ([{"op": "replace", "path": "/spec/restartPolicy", "value": "Never"}], "not kept"),
        (
            [
                {"op": "remove", "path": "/spec/restartPolicy"},
                {"op": "add", "path": "/spec/restartPolicy", "value": "Always"},
            ],
            "not kept",
        ),
        ([{"op": "add", "path": "/spec/volumes/0", "value": our_volume()}], "not kept"),
        ([{"op": "add", "path": "/spec/volumes", "value": []}], "not kept"),
        ([{"op": "add", "path": "/spec/volumes/-", "value": TOKEN_VOLUME}], "twice"),
        ([{"op": "add", "path": "/spec/containers/0/volumeMounts/-", "value": mount("/x")}], "no volume"),
        (
            [
                {"op": "add", "path": "/spec/volumes/-", "value": OWN_VOLUME},
                {
                    "op": "add",
                    "path": "/spec/containers/0/volumeMounts/-",
                    "value": mount(f"{TOKEN_MOUNT['mountPath']}/"),
                },
            ],
            "twice",
        ),
    ],
)
def test_verification(patch: list[dict[str, Any]], message: str) -> None:
    """A patch that does not apply, changes what is the user's, or makes an invalid pod is found out."""
    with pytest.raises(VerificationError, match=message):
        verify(pod(), patch)
