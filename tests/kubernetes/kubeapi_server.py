"""The part of the Kubernetes API that the webhook uses, with the rights that the manifests give."""

import copy
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import jsonpatch
import trio
import trustme
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

from tests.kubernetes.manifests import build, find

TOKEN: Final = "service-account-token"  # noqa: S105 - of nobody
SECRET: Final = "/api/v1/namespaces/pylxcfs-webhook/secrets/pylxcfs-webhook-tls"  # noqa: S105 - a path
CONFIGURATION: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/pylxcfs-webhook"
_PATH: Final = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/v1)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<resource>[^/]+)/(?P<name>[^/]+)"
)


class KubeApi:
    """The objects; `before_patch` lets a test interfere."""

    def __init__(self) -> None:
        """Create what the manifests have."""
        self.objects: dict[str, dict[str, Any]] = {
            SECRET: find("webhook", "Secret", "pylxcfs-webhook-tls"),
            CONFIGURATION: find("webhook", "MutatingWebhookConfiguration"),
        }
        self.requests: list[tuple[str, str, int]] = []
        #: Statuses to answer the next requests with, instead of doing anything.
        self.failures: list[int] = []
        #: Called once, before the next PATCH.
        self.interference: list[Any] = []
        for number, stored in enumerate(self.objects.values()):
            stored["metadata"]["resourceVersion"] = str(number + 1)

    def allowed(self, method: str, path: str) -> bool:
        """Ask the manifests' roles."""
        match = _PATH.fullmatch(path)
        if match is None:
            return False
        verb = {"GET": "get", "PATCH": "patch"}.get(method, method)
        kind = "Role" if match["namespace"] else "ClusterRole"
        roles = [o for o in build("webhook") if o["kind"] == kind]
        return any(
            (match["group"] or "") in rule["apiGroups"]
            and match["resource"] in rule["resources"]
            and match["name"] in rule["resourceNames"]
            and verb in rule["verbs"]
            for role in roles
            if role["metadata"].get("namespace") == match["namespace"]
            for rule in role["rules"]
        )

    def change(self, path: str, changed: dict[str, Any]) -> None:
        """Store an object's new version."""
        changed["metadata"]["resourceVersion"] = str(int(changed["metadata"]["resourceVersion"]) + 1)
        self.objects[path] = changed

    def _respond(
        self, method: str, path: str, headers: dict[bytes, bytes], body: bytes
    ) -> tuple[int, object]:
        if headers.get(b"authorization") != f"Bearer {TOKEN}".encode():
            return 401, {}
        if self.failures:
            return self.failures.pop(0), {}
        if not self.allowed(method, path):
            return 403, {}
        if method == "PATCH":
            assert headers[b"content-type"] == b"application/json-patch+json"
            if self.interference:
                self.interference.pop(0)()
            try:
                patched = jsonpatch.apply_patch(copy.deepcopy(self.objects[path]), json.loads(body))
            except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
                return 422, {}
            self.change(path, patched)
        return 200, self.objects[path]

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve."""
        if scope["type"] == "lifespan":
            # Hypercorn takes this for an application without one.
            raise NotImplementedError
        assert scope["type"] == "http"
        body = b""
        while True:
            message = await receive()
            assert message["type"] == "http.request"
            body += message["body"]
            if not message["more_body"]:
                break
        status, document = self._respond(scope["method"], scope["path"], dict(scope["headers"]), body)
        self.requests.append((scope["method"], scope["path"], status))
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(document).encode(), "more_body": False})


@asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[tuple[KubeApi, int, Path]]:
    """Serve the API over TLS; yield it, its port, and the directory of a service account."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    account = directory / "serviceaccount"
    account.mkdir()
    authority.cert_pem.write_to_path(account / "ca.crt")
    (account / "token").write_text(f"{TOKEN}\n")
    certificate, key = directory / "api.crt", directory / "api.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    api = KubeApi()
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.certfile, config.keyfile = str(certificate), str(key)
    config.errorlog = None
    async with trio.open_nursery() as nursery:
        end = trio.Event()
        serve_api = partial(serve, cast("ASGIFramework", api), config, shutdown_trigger=end.wait)
        binds = await nursery.start(serve_api)
        yield api, int(binds[0].rpartition(":")[2]), account
        end.set()
        nursery.cancel_scope.cancel()
