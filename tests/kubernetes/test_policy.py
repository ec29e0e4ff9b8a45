"""The policy without webhook: its expressions, evaluated, give pods what the webhook gives them."""

import copy
import re
from typing import Any

import cel
import pytest

from pylxcfs.webhook.patch import decide
from pylxcfs.webhook.rules import Reason
from pylxcfs.webhook.settings import DEFAULT_NAMES, Settings
from tests.kubernetes.applied import apply, assert_valid, files
from tests.kubernetes.manifests import find
from tests.kubernetes.pods import CASES, Case

POLICY = find("policy", "MutatingAdmissionPolicy", "inject.pylxcfs.io")["spec"]
#: The API server's types; to others they are maps.
_TYPE = re.compile(r"\bObject(?:\.\w+)*\{")
_FIELD = re.compile(r"(?<=[{,\s])([A-Za-z]\w*):(?=\s)")
#: What the policy cannot do: choose by annotations, number a volume whose name is taken, resolve ``..``. And
#: what it is not asked: pods that selectors or schemas keep from it.
_BEYOND = re.compile(
    r"files-|some-|exclude-|no-container|container-unknown|our-name|same-path-(dots|slash|relative)"
    r"|-wrong|container-null|-null|missing|kube-system|declined|own-pod|windows-node-old"
)
SHARED = [case for case in CASES if not _BEYOND.search(case.name)]


def _evaluate(expression: str, pod: dict[str, Any], variables: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    as_maps = _FIELD.sub(r"'\1':", _TYPE.sub("{", expression))
    return cel.evaluate(as_maps, {"object": pod, "variables": variables})


def _merge(pod: dict[str, Any], configuration: dict[str, Any]) -> dict[str, Any]:
    """Apply a configuration as server-side apply does to the lists in question: merge by their keys."""
    merged = copy.deepcopy(pod)
    spec = merged["spec"]
    _merge_list(spec, "volumes", configuration["spec"]["volumes"], "name")
    for field in ("containers", "initContainers"):
        by_name = {container["name"]: container for container in spec.get(field) or []}
        for applied in configuration["spec"][field]:
            _merge_list(by_name[applied["name"]], "volumeMounts", applied["volumeMounts"], "mountPath")
    return merged


def _merge_list(parent: dict[str, Any], field: str, applied: list[dict[str, Any]], key: str) -> None:
    existing = {entry[key]: entry for entry in parent.get(field) or []}
    for entry in applied:
        existing[entry[key]] = {**existing.get(entry[key], {}), **entry}
    if existing:
        parent[field] = list(existing.values())


def _admit(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the pod as the policy leaves it."""
    if not all(_evaluate(c["expression"], pod, {}) for c in POLICY["matchConditions"]):
        return pod
    variables: dict[str, Any] = {}
    for variable in POLICY["variables"]:
        variables[variable["name"]] = _evaluate(variable["expression"], pod, variables)
    (mutation,) = POLICY["mutations"]
    return _merge(pod, _evaluate(mutation["applyConfiguration"]["expression"], pod, variables))


def _comparable(pod: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only the webhook writes."""
    copied = copy.deepcopy(pod)
    annotations = copied["metadata"].pop("annotations", None) or {}
    annotations.pop("pylxcfs.io/status", None)
    return {**copied, "annotations": annotations}


@pytest.mark.parametrize("case", SHARED, ids=[case.name for case in SHARED])
def test_same_as_the_webhook(case: Case) -> None:
    """Policy and webhook make the same pod."""
    by_webhook = apply(case.pod, decide(case.pod, case.namespace, Settings()))
    by_policy = _admit(case.pod)
    assert_valid(by_policy)
    assert _comparable(by_webhook) == _comparable(by_policy)


def test_most_cases_are_shared() -> None:
    """The comparison is about something: pods that are injected, and pods that are not."""
    reasons = [case.reason for case in SHARED]
    assert 20 < reasons.count(Reason.INJECTED)
    assert {
        Reason.HOST_PID,
        Reason.HOST_USERS,
        Reason.WINDOWS,
        Reason.MIRROR_POD,
        Reason.RUNTIME_CLASS,
    } <= set(reasons)


@pytest.mark.parametrize("case", SHARED, ids=[case.name for case in SHARED])
def test_twice_is_once(case: Case) -> None:
    """A second evaluation, after other admission plugins, changes nothing."""
    once = _admit(case.pod)
    assert once == _admit(once)


@pytest.mark.parametrize("case", SHARED, ids=[case.name for case in SHARED])
def test_beside_the_webhook(case: Case) -> None:
    """Where both are installed, the webhook finds nothing left to do."""
    assert () == decide(_admit(case.pod), case.namespace, Settings()).patch


def test_taken_name_is_left_alone() -> None:
    """A volume of the pod's that has our name is not merged with ours; its file is left out."""
    case = next(case for case in CASES if case.name == "our-name-taken")
    patched = _admit(case.pod)
    assert {"app": DEFAULT_NAMES - {"meminfo"}} == files(patched)
    assert case.pod["spec"]["volumes"][0] in patched["spec"]["volumes"]


def test_files() -> None:
    """The policy's list is that of the webhook."""
    listed = _evaluate(POLICY["variables"][0]["expression"], {}, {})
    settings = Settings()
    expected = [
        {
            "name": file.volume_name,
            "path": f"{settings.mount_point}/{file.path}",
            "target": file.target,
            "type": file.host_path_type,
        }
        for file in settings.named(settings.default_names)
    ]
    assert expected == listed


def test_declared_types() -> None:
    """Each literal of the API's types is at the place that its name says."""
    (mutation,) = POLICY["mutations"]
    expression = mutation["applyConfiguration"]["expression"]
    expected = {
        "Object",
        "Object.spec",
        "Object.spec.volumes",
        "Object.spec.volumes.hostPath",
        "Object.spec.containers",
        "Object.spec.containers.volumeMounts",
        "Object.spec.initContainers",
        "Object.spec.initContainers.volumeMounts",
    }
    assert expected == set(re.findall(r"(Object[\w.]*)\{", expression))
