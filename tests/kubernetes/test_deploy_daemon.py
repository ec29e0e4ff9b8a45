"""The daemon's manifests: consistent with the program, the image and the webhook."""

import json
import re
from pathlib import Path
from typing import Any

import cel
import pytest

from pylxcfs.cli import parse_arguments
from pylxcfs.ctl.cli import _build_parser as build_ctl_parser
from pylxcfs.webhook.cli import build_parser
from pylxcfs.webhook.options import settings_of
from tests.kubernetes.manifests import build, find
from tests.kubernetes.test_deploy import WHOLE
from tests.support.daemon import REPOSITORY

MOUNT_POINT = "/run/pylxcfs/lxcfs"


def _pod(name: str = "daemon") -> dict[str, Any]:
    spec: dict[str, Any] = find(name, "DaemonSet", "pylxcfs")["spec"]["template"]["spec"]
    return spec


def _container(name: str = "daemon") -> dict[str, Any]:
    (container,) = _pod(name)["containers"]
    return dict(container)


def _arguments(hold: str | None = None) -> list[str]:
    """Return the container's arguments as the kubelet expands them."""
    (variable,) = _container()["env"]
    return [
        word.replace(f"$({variable['name']})", hold or variable["value"]) for word in _container()["args"]
    ]


def test_command_line() -> None:
    """The daemon takes the manifest's arguments; readers wait for a minute at most, or not at all."""
    assert ["pylxcfs"] == _container()["command"]
    config = parse_arguments(_arguments())
    assert (Path(MOUNT_POINT), 60) == (config.mount_point, config.hold_seconds)
    assert 0 == parse_arguments(_arguments("0")).hold_seconds
    # Nothing but the host's directory can be written.
    assert _container()["securityContext"]["readOnlyRootFilesystem"]
    assert config.pidfile is not None
    for written in (config.pidfile, config.state_directory):
        assert written.is_relative_to("/run/pylxcfs")


def test_image_and_manifest_agree() -> None:
    """What the image runs by default is what the DaemonSet runs."""
    dockerfile = (REPOSITORY / "deploy" / "docker" / "Dockerfile").read_text()
    command = re.search(r"^CMD (\[.*\])$", dockerfile, re.MULTILINE)
    assert command is not None
    assert [*_container()["command"], *_arguments()] == json.loads(command[1])


def test_mount() -> None:
    """The mount point's parent is shared with the host at the same path, never the mount point itself."""
    volumes = {volume["name"]: volume["hostPath"] for volume in _pod()["volumes"]}
    mounts = {mount["name"]: mount for mount in _container()["volumeMounts"]}
    assert {"path": "/run/pylxcfs", "type": "DirectoryOrCreate"} == volumes["run"]
    assert ("/run/pylxcfs", "Bidirectional") == tuple(
        mounts["run"][key] for key in ("mountPath", "mountPropagation")
    )
    assert volumes["cgroup"]["path"] == mounts["cgroup"]["mountPath"] == "/sys/fs/cgroup"
    # The holder leaves the container's cgroups by writing there.
    assert "readOnly" not in mounts["cgroup"]


def test_every_node_and_nothing_to_wait_for() -> None:
    """It runs on every Linux node, first of all, in the host's pid namespace, without any rights."""
    pod = _pod()
    assert (True, True, False) == (pod["hostPID"], pod["hostNetwork"], pod["automountServiceAccountToken"])
    assert [{"operator": "Exists"}] == pod["tolerations"]
    assert "system-node-critical" == pod["priorityClassName"]
    quota = find("daemon", "ResourceQuota", "pylxcfs")["spec"]["scopeSelector"]["matchExpressions"]
    assert [pod["priorityClassName"]] == quota[0]["values"]
    assert not {"Role", "ClusterRole"} & {document["kind"] for document in build("daemon")}
    labels = find("daemon", "Namespace", "pylxcfs")["metadata"]["labels"]
    assert "privileged" == labels["pod-security.kubernetes.io/enforce"]


def test_probes() -> None:
    """Each probe is a command that exists, and is given more time than it takes itself."""
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = _container()[name]
        program, *arguments = probe["exec"]["command"]
        parsed = build_ctl_parser().parse_args(arguments)
        assert ("pylxcfsctl", "probe", MOUNT_POINT) == (program, parsed.command, str(parsed.mount_point))
        assert parsed.seconds < probe["timeoutSeconds"] <= probe["periodSeconds"] or name == "startupProbe"


@pytest.mark.parametrize("name", WHOLE)
def test_pods_get_what_is_served(name: str) -> None:
    """Webhook and policy name the daemon's mount point; all objects are ours by label, and set one image."""
    assert MOUNT_POINT == _arguments()[-1]
    documents = build(name)
    if name == "without-webhook":
        files = find(name, "MutatingAdmissionPolicy", "inject.pylxcfs.io")["spec"]["variables"][0]
        original = find("policy", "MutatingAdmissionPolicy", "inject.pylxcfs.io")["spec"]["variables"][0]
        assert original["expression"].replace("/var/lib/lxcfs", MOUNT_POINT) == files["expression"]
    else:
        (webhook,) = find(name, "Deployment")["spec"]["template"]["spec"]["containers"]
        assert MOUNT_POINT == settings_of(build_parser().parse_args(webhook["args"])).mount_point
        assert webhook["image"] == _container(name)["image"]
    assert {"pylxcfs"} == {d["metadata"]["labels"]["app.kubernetes.io/part-of"] for d in documents}


def test_updates() -> None:
    """One daemon per node at any time."""
    strategy = find("daemon", "DaemonSet", "pylxcfs")["spec"]["updateStrategy"]
    assert ("RollingUpdate", 0) == (strategy["type"], strategy["rollingUpdate"]["maxSurge"])


def test_daemon_fits_its_scc() -> None:
    """OpenShift's constraints allow what the daemon's pod has."""
    scc = find("openshift", "SecurityContextConstraints", "pylxcfs")
    pod = _pod("openshift")
    assert (scc["allowHostPID"], scc["allowHostNetwork"]) == (pod["hostPID"], pod["hostNetwork"])
    assert scc["allowPrivilegedContainer"]
    assert not scc["allowHostIPC"]
    assert set(scc["volumes"]) == {key for volume in pod["volumes"] for key in volume if key != "name"}
    role = find("openshift", "Role", "pylxcfs")
    assert [scc["metadata"]["name"]] == role["rules"][0]["resourceNames"]
    (subject,) = find("openshift", "RoleBinding", "pylxcfs")["subjects"]
    account = find("openshift", "ServiceAccount", pod["serviceAccountName"])["metadata"]
    assert (account["name"], account["namespace"]) == (subject["name"], subject["namespace"])


def _allows(pod: dict[str, Any]) -> list[bool]:
    """Evaluate the policy on hostPath volumes for a pod."""
    spec = find("openshift", "ValidatingAdmissionPolicy", "host-paths.pylxcfs.io")["spec"]
    variables: dict[str, Any] = {}
    for variable in spec["variables"]:
        context = {"object": pod, "variables": variables}
        variables[variable["name"]] = cel.evaluate(variable["expression"], context)
    context = {"object": pod, "variables": variables}
    return [bool(cel.evaluate(each["expression"], context)) for each in spec["validations"]]


def _with(path: str, *, read_only: bool, kind: str = "containers") -> dict[str, Any]:
    mount = {"name": "v", "mountPath": "/proc/meminfo"} | ({"readOnly": True} if read_only else {})
    spec: dict[str, Any] = {
        "containers": [{"name": "c"}],
        "volumes": [{"name": "e", "emptyDir": {}}, {"name": "v", "hostPath": {"path": path}}],
    }
    spec[kind] = [{"name": "x", "volumeMounts": [mount]}]
    return {"spec": spec}


@pytest.mark.parametrize("kind", ["containers", "initContainers", "ephemeralContainers"])
def test_host_paths(kind: str) -> None:
    """In injected namespaces on OpenShift, pods may have our files read-only, and nothing else."""
    ours = f"{MOUNT_POINT}/proc/meminfo"
    assert [True, True] == _allows({"spec": {"containers": [{"name": "c"}]}})
    assert [True, True] == _allows(_with(ours, read_only=True, kind=kind))
    assert [True, False] == _allows(_with(ours, read_only=False, kind=kind))
    for path in ("/", "/run", MOUNT_POINT, f"{MOUNT_POINT}x/y", "/etc/shadow", f"{MOUNT_POINT}/../../x"):
        assert [False, True] == _allows(_with(path, read_only=True, kind=kind))
