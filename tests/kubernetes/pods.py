"""Pods as API servers send them: every case in which an injector may go wrong, and what ours is to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pylxcfs.webhook.rules import Reason

Pod = dict[str, Any]

PROC = frozenset({"cpuinfo", "diskstats", "loadavg", "meminfo", "stat", "swaps", "uptime"})
ALL = PROC | {"cpu"}
NONE: frozenset[str] = frozenset()

TOKEN_VOLUME = {
    "name": "kube-api-access-x2z9k",
    "projected": {
        "defaultMode": 420,
        "sources": [{"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}],
    },
}
TOKEN_MOUNT: dict[str, Any] = {
    "name": "kube-api-access-x2z9k",
    "readOnly": True,
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
}


def container(name: str = "app", **fields: object) -> dict[str, Any]:
    """Make a container as a controller's pod has it; a field that is None is left out."""
    made = {
        "name": name,
        "image": f"example.org/{name}:1",
        "env": [{"name": "SECRET", "value": "correct horse battery staple"}],
        "resources": {"limits": {"memory": "256Mi"}},
        "volumeMounts": [TOKEN_MOUNT],
        "terminationMessagePath": "/dev/termination-log",
        "imagePullPolicy": "IfNotPresent",
        **fields,
    }
    return {key: value for key, value in made.items() if value is not None}


def pod(
    *containers: dict[str, Any],
    annotations: object = None,
    labels: Mapping[str, str] | None = None,
    **spec: object,
) -> Pod:
    """Make a pod as a ReplicaSet does: no name, no namespace, no uid yet."""
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": "web-5d4f8c7b9-",
            "creationTimestamp": None,
            "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9", **(labels or {})},
            **({"annotations": annotations} if annotations is not None else {}),
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f8c7b9", "uid": "0d4a"}
            ],
        },
        "spec": {
            "volumes": [TOKEN_VOLUME],
            "containers": list(containers) or [container()],
            "restartPolicy": "Always",
            "serviceAccountName": "default",
            "aFieldOfNextYear": {"deeply": [{"nested": None}]},
            **spec,
        },
        "status": {},
    }


def mount(path: str, name: str = "own") -> dict[str, Any]:
    """Make a mount of the user's."""
    return {"name": name, "mountPath": path}


def our_volume(name: str = "pylxcfs-proc-meminfo", path: str = "proc/meminfo") -> dict[str, Any]:
    """Make a volume as we would."""
    return {"name": name, "hostPath": {"path": f"/var/lib/lxcfs/{path}", "type": "File"}}


OWN_VOLUME = {"name": "own", "emptyDir": {}}


def _with(*paths: str) -> Pod:
    return pod(
        container(volumeMounts=[TOKEN_MOUNT, *map(mount, paths)]),
        volumes=[TOKEN_VOLUME, OWN_VOLUME],
    )


@dataclass(frozen=True)
class Case:
    """A pod, and what is to become of it."""

    name: str
    pod: Pod
    reason: Reason = Reason.INJECTED
    #: The files that each container has afterwards, by name.
    files: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: In one of the warnings; nothing: there are none.
    warning: str = ""
    namespace: str = "shop"


CASES = (
    Case("controller", pod(), files={"app": ALL}),
    Case("no-volumes", pod(container(volumeMounts=None), volumes=[]), files={"app": ALL}),
    Case("volumes-null", pod(container(volumeMounts=None), volumes=None), files={"app": ALL}),
    Case("mounts-null", pod({"name": "app", "volumeMounts": None}), files={"app": ALL}),
    Case("mounts-empty", pod(container(volumeMounts=[])), files={"app": ALL}),
    Case("annotations-empty", pod(annotations={}), files={"app": ALL}),
    Case("annotations-null", {**pod(), "metadata": {"annotations": None}}, files={"app": ALL}),
    Case("annotations", pod(annotations={"a/b~c": "d"}), files={"app": ALL}),
    Case("metadata-missing", {k: v for k, v in pod().items() if k != "metadata"}, files={"app": ALL}),
    Case("metadata-null", {**pod(), "metadata": None}, files={"app": ALL}),
    Case("status-copied", pod(annotations={"pylxcfs.io/status": "cpuinfo"}), files={"app": ALL}),
    Case("two-containers", pod(container(), container("log")), files={"app": ALL, "log": ALL}),
    Case(
        "init-and-sidecar",
        pod(initContainers=[container("init"), container("sidecar", restartPolicy="Always")]),
        files={"app": ALL, "init": ALL, "sidecar": ALL},
    ),
    Case("init-null", pod(initContainers=None), files={"app": ALL}),
    Case("same-path", _with("/proc/meminfo"), files={"app": ALL - {"meminfo"}}, warning="/proc/meminfo"),
    Case("same-path-slash", _with("/proc//meminfo/"), files={"app": ALL - {"meminfo"}}, warning="meminfo"),
    Case("same-path-dots", _with("/proc/../proc/./stat"), files={"app": ALL - {"stat"}}, warning="stat"),
    Case("same-path-relative", _with("proc/stat"), files={"app": ALL - {"stat"}}, warning="/proc/stat"),
    Case("similar-path", _with("/proc/meminfo2", "/proc/stats"), files={"app": ALL}),
    Case("below-file", _with("/proc/uptime/x"), files={"app": ALL - {"uptime"}}, warning="/proc/uptime"),
    Case("below-cpu", _with("/sys/devices/system/cpu/online"), files={"app": PROC}, warning="system/cpu"),
    Case("host-proc", _with("/proc"), files={"app": frozenset({"cpu"})}, warning="/proc/cpuinfo"),
    Case("host-sys", _with("/sys"), files={"app": PROC}, warning="/sys/devices/system/cpu"),
    Case("host-devices", _with("/sys/devices/"), files={"app": PROC}, warning="/sys/devices/system/cpu"),
    Case("elsewhere", _with("/host/proc", "/host/sys"), files={"app": ALL}),
    Case("host-root", _with("/"), Reason.NOTHING_TO_ADD, files={"app": NONE}, warning="/proc/cpuinfo"),
    Case(
        "conflict-in-one",
        pod(
            container(volumeMounts=[mount("/proc/stat")]),
            container("log"),
            volumes=[TOKEN_VOLUME, OWN_VOLUME],
        ),
        files={"app": ALL - {"stat"}, "log": ALL},
        warning="container app",
    ),
    Case(
        "our-volume-unused",
        pod(volumes=[TOKEN_VOLUME, our_volume()]),
        files={"app": ALL},
    ),
    Case(
        "our-name-taken",
        pod(volumes=[{"name": "pylxcfs-proc-meminfo", "emptyDir": {}}, TOKEN_VOLUME]),
        files={"app": ALL},
    ),
    Case(
        "our-name-taken-twice",
        pod(
            volumes=[
                {"name": "pylxcfs-proc-meminfo", "emptyDir": {}},
                {"name": "pylxcfs-proc-meminfo-1", "hostPath": {"path": "/", "type": ""}},
                TOKEN_VOLUME,
            ]
        ),
        files={"app": ALL},
    ),
    Case(
        "half-done",
        pod(
            container(
                volumeMounts=[
                    {"name": "pylxcfs-proc-meminfo", "mountPath": "/proc/meminfo", "readOnly": True}
                ]
            ),
            container("late"),
            volumes=[our_volume(), TOKEN_VOLUME],
            annotations={"pylxcfs.io/status": "meminfo"},
        ),
        files={"app": ALL, "late": ALL},
    ),
    Case(
        "some-files",
        pod(annotations={"pylxcfs.io/files": "meminfo, cpu"}),
        files={"app": frozenset({"meminfo", "cpu"})},
    ),
    Case(
        "files-of-one",
        pod(
            container(),
            container("log"),
            annotations={"pylxcfs.io/files.log": "uptime", "pylxcfs.io/files": "cpuinfo"},
        ),
        files={"app": frozenset({"cpuinfo"}), "log": frozenset({"uptime"})},
    ),
    Case(
        "files-none",
        pod(container(), container("log"), annotations={"pylxcfs.io/files.log": "none"}),
        files={"app": ALL, "log": NONE},
    ),
    Case(
        "files-unknown",
        pod(annotations={"pylxcfs.io/files": "meminfo,memnifo"}),
        files={"app": frozenset({"meminfo"})},
        warning="no file memnifo",
    ),
    Case(
        "some-containers",
        pod(container(), container("log"), annotations={"pylxcfs.io/containers": "log"}),
        files={"app": NONE, "log": ALL},
    ),
    Case(
        "exclude-containers",
        pod(container(), container("log"), annotations={"pylxcfs.io/exclude-containers": "log"}),
        files={"app": ALL, "log": NONE},
    ),
    Case(
        "container-unknown",
        pod(annotations={"pylxcfs.io/exclude-containers": "lgo", "pylxcfs.io/files.x": "stat"}),
        files={"app": ALL},
        warning="no container lgo",
    ),
    Case(
        "no-container-wanted",
        pod(annotations={"pylxcfs.io/containers": ""}),
        Reason.NOTHING_TO_ADD,
        files={"app": NONE},
    ),
    Case("no-containers", pod(containers=[]), Reason.NOTHING_TO_ADD),
    Case("containers-null", pod(containers=None), Reason.NOTHING_TO_ADD),
    Case("spec-missing", {"kind": "Pod", "metadata": {}}, Reason.NOTHING_TO_ADD),
    Case("share-process-namespace", pod(shareProcessNamespace=True), files={"app": ALL}),
    Case("host-users-true", pod(hostUsers=True), files={"app": ALL}),
    Case("linux", pod(os={"name": "linux"}, nodeSelector={"kubernetes.io/os": "linux"}), files={"app": ALL}),
    Case("runtime-class", pod(runtimeClassName="crun"), files={"app": ALL}),
    Case("label-enabled", pod(labels={"pylxcfs.io/inject": "enabled"}), files={"app": ALL}),
    Case("declined", pod(labels={"pylxcfs.io/inject": "disabled"}), Reason.DECLINED),
    Case("declined-false", pod(labels={"pylxcfs.io/inject": "false"}), Reason.DECLINED),
    Case("own-pod", pod(labels={"app.kubernetes.io/part-of": "pylxcfs"}), Reason.OWN_POD),
    Case("kube-system", pod(), Reason.EXCLUDED_NAMESPACE, namespace="kube-system"),
    Case("mirror", pod(annotations={"kubernetes.io/config.mirror": "7d4b"}), Reason.MIRROR_POD),
    Case("windows", pod(os={"name": "windows"}), Reason.WINDOWS),
    Case("windows-node", pod(nodeSelector={"kubernetes.io/os": "windows"}), Reason.WINDOWS),
    Case("windows-node-old", pod(nodeSelector={"beta.kubernetes.io/os": "windows"}), Reason.WINDOWS),
    Case("user-namespace", pod(hostUsers=False), Reason.HOST_USERS, warning="hostUsers: false"),
    Case("host-pid", pod(hostPID=True), Reason.HOST_PID, warning="hostPID: true"),
    Case("kata", pod(runtimeClassName="kata-qemu"), Reason.RUNTIME_CLASS, warning="runtimeClassName"),
    Case("gvisor", pod(runtimeClassName="gvisor"), Reason.RUNTIME_CLASS, warning="runtimeClassName"),
    Case("sysbox", pod(runtimeClassName="sysbox-runc"), Reason.RUNTIME_CLASS, warning="runtimeClassName"),
    Case("volumes-wrong", pod(volumes="all"), Reason.MALFORMED, warning="spec.volumes"),
    Case("containers-wrong", pod(containers={"a": 1}), Reason.MALFORMED, warning="spec.containers"),
    Case("container-null", pod(containers=[None]), Reason.MALFORMED, warning="spec.containers[0]"),
    Case("mounts-wrong", pod(container(volumeMounts=7)), Reason.MALFORMED, warning="volumeMounts"),
    Case("labels-wrong", {**pod(), "metadata": {"labels": []}}, Reason.MALFORMED, warning="metadata.labels"),
    Case("spec-wrong", {"kind": "Pod", "spec": []}, Reason.MALFORMED, warning="spec is not"),
)
