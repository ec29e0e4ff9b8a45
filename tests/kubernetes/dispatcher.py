"""What an API server does with a user's pod: webhooks over TLS, as its mutating dispatcher calls them.

After kubernetes/apiserver, pkg/admission/plugin/webhook: mutating/dispatcher.go, request/admissionreview.go.
A call that fails, times out or is answered wrongly is a matter of the failure policy. A patch that does not
apply is not, and rejects the pod. A webhook with reinvocationPolicy IfNeeded is called again if the
pod changed later.
"""

import base64
import binascii
import copy
import json
import ssl
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import cel
import httpx
import jsonpatch

from tests.kubernetes.applied import assert_valid

Pod = dict[str, Any]


class Rejected(Exception):  # noqa: N818 - what the user sees
    """The pod is not created."""


class _CallFailed(Exception):  # noqa: N818 - becomes what the failure policy says
    """ErrCallingWebhook."""


@dataclass
class Outcome:
    """A pod that was created, and what the user and the audit log see besides."""

    pod: Pod
    warnings: list[str] = field(default_factory=list)
    audit: dict[str, str] = field(default_factory=dict)
    #: Webhooks in the order in which they were called.
    called: list[str] = field(default_factory=list)
    #: Why calls failed that were ignored.
    ignored: list[str] = field(default_factory=list)


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Evaluate a label selector."""
    for expression in (selector or {}).get("matchExpressions", []):
        value, values = labels.get(expression["key"]), expression.get("values", [])
        match expression["operator"]:
            case "In" if value not in values:
                return False
            case "NotIn" if value in values:
                return False
            case "In" | "NotIn":
                pass
            case other:
                raise NotImplementedError(other)
    return all(labels.get(k) == v for k, v in (selector or {}).get("matchLabels", {}).items())


def conditions_hold(conditions: list[dict[str, str]], pod: Pod) -> bool:
    """Evaluate matchConditions (CEL)."""
    return all(cel.evaluate(condition["expression"], {"object": pod}) for condition in conditions)


@dataclass
class ApiServer:
    """Admits pods; `address` is where the Service leads to."""

    configuration: dict[str, Any]
    address: tuple[str, int]
    namespaces: Mapping[str, Mapping[str, str]]
    #: Mutating admission that comes after webhooks' first round.
    after: tuple[Callable[[Pod], None], ...] = ()

    async def create(self, pod: Pod, namespace: str, **request: object) -> Outcome:
        """Admit a new pod. Raises Rejected."""
        outcome = Outcome(copy.deepcopy(pod))
        await self._round(
            outcome, namespace, {"operation": "CREATE", **request}, self.configuration["webhooks"]
        )
        seen = copy.deepcopy(outcome.pod)
        for mutate in self.after:
            mutate(outcome.pod)
        if outcome.pod != seen:
            again = [w for w in self.configuration["webhooks"] if w.get("reinvocationPolicy") == "IfNeeded"]
            again = [w for w in again if w["name"] in outcome.called]
            await self._round(outcome, namespace, {"operation": "CREATE", **request}, again)
        self._validate(outcome.pod, namespace)
        return outcome

    async def debug(self, pod: Pod, namespace: str, ephemeral: dict[str, Any]) -> Outcome:
        """Add an ephemeral container to a pod."""
        new = copy.deepcopy(pod)
        new["spec"].setdefault("ephemeralContainers", []).append(ephemeral)
        outcome = Outcome(new)
        request = {"operation": "UPDATE", "subResource": "ephemeralcontainers", "oldObject": pod}
        await self._round(outcome, namespace, request, self.configuration["webhooks"])
        # The subresource's strategy drops everything else.
        kept = copy.deepcopy(pod)
        kept["spec"]["ephemeralContainers"] = outcome.pod["spec"]["ephemeralContainers"]
        outcome.pod = kept
        self._validate(outcome.pod, namespace)
        return outcome

    async def _round(
        self, outcome: Outcome, namespace: str, request: dict[str, Any], webhooks: list[dict[str, Any]]
    ) -> None:
        for webhook in webhooks:
            if not self._concerns(webhook, outcome.pod, namespace, request):
                continue
            outcome.called.append(webhook["name"])
            try:
                response = await self._call(webhook, outcome.pod, namespace, request)
                patch = _verified(response)
            except _CallFailed as failure:
                if webhook["failurePolicy"] != "Ignore":
                    raise Rejected(f"failed calling webhook {webhook['name']}: {failure}") from failure
                outcome.ignored.append(str(failure))
                continue
            outcome.warnings += response.get("warnings", [])
            for key, value in response.get("auditAnnotations", {}).items():
                assert "/" not in key
                outcome.audit[f"{webhook['name']}/{key}"] = value
            if not response["allowed"]:
                raise Rejected("denied the request")
            try:
                outcome.pod = jsonpatch.apply_patch(outcome.pod, patch)
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
                raise Rejected(f"internal error: {error}") from error

    def _concerns(
        self, webhook: Mapping[str, Any], pod: Pod, namespace: str, request: Mapping[str, Any]
    ) -> bool:
        subresource = request.get("subResource")
        resource = f"pods/{subresource}" if subresource else "pods"
        return (
            any(
                request["operation"] in rule["operations"] and resource in rule["resources"]
                for rule in webhook["rules"]
            )
            and selects(webhook.get("namespaceSelector"), self.namespaces[namespace])
            and selects(webhook.get("objectSelector"), pod.get("metadata", {}).get("labels") or {})
            and conditions_hold(webhook.get("matchConditions", []), pod)
        )

    async def _call(
        self, webhook: Mapping[str, Any], pod: Pod, namespace: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        uid = str(uuid.uuid4())
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": uid,
                "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "namespace": namespace,
                "object": pod,
                "oldObject": None,
                "dryRun": False,
                **request,
            },
        }
        assert "v1" in webhook["admissionReviewVersions"]
        reference = webhook["clientConfig"]
        service = reference["service"]
        name = f"{service['name']}.{service['namespace']}.svc"
        timeout = webhook["timeoutSeconds"]
        try:
            bundle = base64.b64decode(reference.get("caBundle", ""))
            trust = (
                ssl.create_default_context(cadata=bundle.decode()) if bundle else ssl.create_default_context()
            )
            async with httpx.AsyncClient(
                verify=trust, http2=True, timeout=timeout, trust_env=False
            ) as client:
                response = await client.post(
                    f"https://{self.address[0]}:{self.address[1]}{service['path']}",
                    params={"timeout": f"{timeout}s"},
                    headers={"Content-Type": "application/json", "Host": f"{name}:443"},
                    content=json.dumps(review),
                    extensions={"sni_hostname": name},
                )
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise _CallFailed(f"{type(error).__name__}: {error}") from error
        if response.status_code != httpx.codes.OK:
            raise _CallFailed(f"status {response.status_code}")
        try:
            answer = response.json()
        except ValueError as error:
            raise _CallFailed("no JSON") from error
        if (answer.get("apiVersion"), answer.get("kind")) != (review["apiVersion"], review["kind"]):
            raise _CallFailed("expected webhook response of admission.k8s.io/v1, AdmissionReview")
        verdict: dict[str, Any] = answer.get("response") or {}
        if verdict.get("uid") != uid:
            raise _CallFailed("expected response.uid to be the request's")
        return verdict

    def _validate(self, pod: Pod, namespace: str) -> None:
        """Do what comes after mutation: Pod Security, and the API's own validation."""
        level = self.namespaces[namespace].get("pod-security.kubernetes.io/enforce", "privileged")
        if level != "privileged" and any("hostPath" in volume for volume in pod["spec"].get("volumes") or []):
            raise Rejected(f"violates PodSecurity {level}: hostPath volumes")
        try:
            assert_valid(pod)
        except AssertionError as error:
            raise Rejected(f"invalid: {error}") from error


def _verified(response: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Check what VerifyAdmissionResponse does; return the patch."""
    if ("patch" in response) != ("patchType" in response):
        raise _CallFailed("patch and patchType need each other")
    if "patch" not in response:
        return []
    if response["patchType"] != "JSONPatch":
        raise _CallFailed("unsupported patch type")
    try:
        patch: list[dict[str, Any]] = json.loads(base64.b64decode(response["patch"], validate=True))
    except (ValueError, binascii.Error) as error:
        raise _CallFailed("undecodable patch") from error
    return patch
