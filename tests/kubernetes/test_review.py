"""AdmissionReview in, AdmissionReview out."""

import json
from typing import Any

import jsonpatch
import pytest

from pylxcfs.webhook.patch import decide
from pylxcfs.webhook.review import BadRequestError, answer, judge, parse
from pylxcfs.webhook.rules import Reason
from pylxcfs.webhook.settings import Settings
from tests.kubernetes.applied import operations
from tests.kubernetes.pods import container, mount, pod
from tests.kubernetes.reviews import patch_of, review


def _answer(document: object) -> bytes:
    asked = parse(json.dumps(document).encode())
    return answer(asked, judge(asked, Settings()))


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_answer(version: str) -> None:
    """The answer has the question's uid and version, the patch, and words for the audit log."""
    document = {**review(pod()), "apiVersion": f"admission.k8s.io/{version}"}
    body = _answer(document)
    answered = json.loads(body)
    assert (document["apiVersion"], "AdmissionReview") == (answered["apiVersion"], answered["kind"])
    response = answered["response"]
    assert document["request"]["uid"] == response["uid"]
    assert "JSONPatch" == response["patchType"]
    assert operations(decide(pod(), "shop", Settings())) == patch_of(body)
    files = "cpuinfo,diskstats,loadavg,meminfo,stat,swaps,uptime,cpu"
    assert {"reason": "injected", "files": files} == response["auditAnnotations"]
    assert "warnings" not in response


def test_no_patch_no_patch_type() -> None:
    """A pod that gets nothing has an answer with neither patch nor its type, which is an error alone."""
    response = json.loads(_answer(review(pod(hostPID=True))))["response"]
    assert {"uid", "allowed", "warnings", "auditAnnotations"} == set(response)
    assert ["pylxcfs: pods with hostPID: true are left with the host's view"] == response["warnings"]


def test_warnings_are_few_and_short() -> None:
    """However much there is to say, the API server has room for it."""
    name = "c" * 63
    subject = pod(container(name, volumeMounts=[mount("/proc"), mount("/sys/devices/system/cpu/online")]))
    subject["metadata"]["annotations"] = {"pylxcfs.io/files.x": ",".join(map(str, range(99)))}
    warnings = json.loads(_answer(review(subject)))["response"]["warnings"]
    assert 8 == len(warnings)
    assert 120 >= max(map(len, warnings))


@pytest.mark.parametrize(
    "request_fields",
    [
        {"operation": "UPDATE", "oldObject": pod()},
        {"operation": "DELETE", "object": None, "oldObject": pod()},
        {"operation": "CONNECT", "subResource": "exec"},
        {"operation": "CREATE", "subResource": "binding"},
        {"operation": "UPDATE", "subResource": "status"},
        {"resource": {"group": "apps", "version": "v1", "resource": "deployments"}},
        {"resource": {"group": "metrics.k8s.io", "version": "v1", "resource": "pods"}},
        {"resource": {"group": "", "version": "v2", "resource": "pods"}},
        {"resource": None},
        {"object": {**pod(), "kind": "Deployment"}},
        {"object": None},
        {"operation": None},
    ],
)
def test_only_new_pods(request_fields: dict[str, Any]) -> None:
    """Anything but the creation of a pod is allowed as it is."""
    asked = parse(json.dumps(review(pod(), **request_fields)).encode())
    assert Reason.NOT_A_NEW_POD is judge(asked, Settings()).reason
    assert [] == patch_of(answer(asked, judge(asked, Settings())))


@pytest.mark.parametrize("value", ["pod", 7, [], True])
def test_objects_of_wrong_types(value: object) -> None:
    """An object that is none is allowed, and called malformed."""
    asked = parse(json.dumps(review(value)).encode())
    assert Reason.MALFORMED is judge(asked, Settings()).reason
    assert "" == asked.pod_name


def test_dry_run_is_the_same() -> None:
    """A dry run is answered like the real thing: nothing happens besides the answer."""
    assert _answer(review(pod())) == _answer(review(pod(), dryRun=True))


def test_namespace_is_the_request_s() -> None:
    """The pod's own namespace may be missing or lie; the request's counts."""
    subject = pod()
    subject["metadata"]["namespace"] = "kube-system"
    assert [] != patch_of(_answer(review(subject)))
    assert [] == patch_of(_answer(review(pod(), namespace="kube-system")))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"AdmissionReview"',
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        json.dumps(review(pod())).encode().replace(b"false", b"NaN"),
        json.dumps({**review(pod()), "kind": "Pod"}).encode(),
        json.dumps({**review(pod()), "apiVersion": "admission.k8s.io/v2"}).encode(),
        json.dumps({**review(pod()), "apiVersion": ["admission.k8s.io/v1"]}).encode(),
        json.dumps({**review(pod()), "request": None}).encode(),
        json.dumps(review(pod(), uid="")).encode(),
        json.dumps(review(pod(), uid=7)).encode(),
    ],
)
def test_what_is_no_review(body: bytes) -> None:
    """What is no review is refused, and not quoted."""
    with pytest.raises(BadRequestError) as refusal:
        parse(body)
    assert "shop" not in str(refusal.value)


def test_ephemeral_containers() -> None:
    """The review of an ephemeral container patches that alone."""
    injected = pod()
    asked = parse(json.dumps(review(injected)).encode())
    old = jsonpatch.apply_patch(injected, patch_of(answer(asked, judge(asked, Settings()))))
    new = {**old, "spec": {**old["spec"], "ephemeralContainers": [{"name": "debugger", "image": "busybox"}]}}
    body = _answer(review(new, oldObject=old, operation="UPDATE", subResource="ephemeralcontainers"))
    assert ["/spec/ephemeralContainers/0/volumeMounts"] == [operation["path"] for operation in patch_of(body)]
