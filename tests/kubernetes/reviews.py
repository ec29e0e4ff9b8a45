"""AdmissionReviews as API servers send them."""

import base64
import json
from typing import Any


def review(pod: object, **request: object) -> dict[str, Any]:
    """Make a review of a new pod."""
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "name": "",
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod,
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
            **request,
        },
    }


def patch_of(body: bytes) -> list[dict[str, Any]]:
    """Return a response's patch; empty if there is none."""
    response = json.loads(body)["response"]
    assert response["allowed"]
    patch: list[dict[str, Any]] = (
        json.loads(base64.b64decode(response["patch"])) if "patch" in response else []
    )
    return patch
