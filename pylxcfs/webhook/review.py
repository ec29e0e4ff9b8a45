"""AdmissionReview (admission.k8s.io/v1) in, AdmissionReview out; pure."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pylxcfs.webhook.patch import Decision, decide, decide_ephemeral
from pylxcfs.webhook.pod import MalformedError, mapping, metadata_map, text
from pylxcfs.webhook.rules import Reason
from pylxcfs.webhook.settings import Settings

#: v1beta1 differs in nothing that we use; API servers since 1.22 send v1.
_VERSIONS: Final = frozenset({"admission.k8s.io/v1", "admission.k8s.io/v1beta1"})
#: The API server cuts longer warnings, and has little room for all of a request's together.
_WARNING_CHARACTERS: Final = 120
_MOST_WARNINGS: Final = 8
#: Values in a body, counted by what separates them, also inside of strings. A large pod has some thousands;
#: each costs up to some 100 bytes and a microsecond, several times.
_MOST_VALUES: Final = 100_000
_SEPARATORS: Final = (b",", b"[", b"{")
#: A pod's deepest field is some 20 levels below the review.
_MOST_DEPTH: Final = 100


class BadRequestError(Exception):
    """The body is not a review; the message says what is wrong, without quoting it."""


@dataclass(frozen=True, slots=True)
class Review:
    """What is asked."""

    api_version: str
    uid: str
    #: Of the request: the pod's own may be missing yet.
    namespace: str
    request: Mapping[str, object]

    @property
    def pod_name(self) -> str:
        """The pod's name, or the beginning of the one that it will be given."""
        try:
            metadata = mapping(mapping(self.request.get("object"), "object").get("metadata"), "metadata")
        except MalformedError:
            return ""
        return text(metadata.get("name")) or text(metadata.get("generateName"))


def parse(body: bytes) -> Review:
    """Read a request's body. Raises BadRequestError."""
    if sum(map(body.count, _SEPARATORS)) > _MOST_VALUES:
        raise BadRequestError("more values than any pod has")
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        # Also what is no UTF-8, and integers of thousands of digits.
        raise BadRequestError("not a JSON document") from None
    if not _is_shallow(document):
        raise BadRequestError("nested deeper than any pod is")
    if not isinstance(document, dict) or document.get("kind") != "AdmissionReview":
        raise BadRequestError("not an AdmissionReview")
    api_version, request = text(document.get("apiVersion")), document.get("request")
    if api_version not in _VERSIONS:
        raise BadRequestError("not a version of AdmissionReview that is known here")
    if not isinstance(request, dict) or not (uid := text(request.get("uid"))):
        raise BadRequestError("no request with a uid")
    return Review(api_version, uid, text(request.get("namespace")), request)


def _is_shallow(document: object) -> bool:
    """Tell whether nothing is nested so deeply that walking through it recursively could fail."""
    level = [document]
    for _ in range(_MOST_DEPTH):
        level = [
            below
            for value in level
            if isinstance(value, dict | list)
            for below in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return True
    return False


def _refuse_constant(name: str) -> float:
    raise ValueError(name)


def judge(review: Review, settings: Settings) -> Decision:
    """Decide about what is asked. Raises VerificationError if our own patch is wrong."""
    request = review.request
    try:
        resource = mapping(request.get("resource"), "resource")
        pod, old_pod = (
            mapping(request.get("object"), "object"),
            mapping(request.get("oldObject"), "oldObject"),
        )
        metadata_map(pod, "labels")
    except MalformedError as error:
        return Decision(Reason.MALFORMED, warnings=(str(error),))
    group, name = resource.get("group"), resource.get("resource")
    if (group, resource.get("version"), name, pod.get("kind")) == ("", "v1", "pods", "Pod"):
        match text(request.get("operation")), text(request.get("subResource")):
            case "CREATE", "":
                return decide(pod, review.namespace, settings)
            case "UPDATE", "ephemeralcontainers":
                return decide_ephemeral(pod, old_pod, review.namespace, settings)
    return Decision(Reason.NOT_A_NEW_POD)


def answer(review: Review, decision: Decision) -> bytes:
    """Return the response's body. The pod is always allowed: whom to turn away is not for us to say."""
    response: dict[str, object] = {"uid": review.uid, "allowed": True}
    if decision.patch:
        # One without the other is an error.
        response["patchType"] = "JSONPatch"
        patch = [addition.as_json() for addition in decision.patch]
        response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
    if decision.warnings:
        response["warnings"] = [
            f"pylxcfs: {warning}"[:_WARNING_CHARACTERS] for warning in decision.warnings[:_MOST_WARNINGS]
        ]
    # The API server puts the webhook's name and a slash before the keys, and takes no second slash.
    response["auditAnnotations"] = {"reason": decision.reason.value, "files": ",".join(decision.files)}
    document = {"apiVersion": review.api_version, "kind": "AdmissionReview", "response": response}
    return json.dumps(document).encode()
