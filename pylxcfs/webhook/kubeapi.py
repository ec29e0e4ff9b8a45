"""The three calls that we need of the Kubernetes API, as the pod's service account."""

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from pylxcfs.errors import StartupError
from pylxcfs.webhook.pod import MalformedError, mapping, sequence, text

SERVICE_ACCOUNT_DIRECTORY: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CONFIGURATIONS: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
_TIMEOUT_SECONDS: Final = 10.0
_JSON_PATCH: Final = "application/json-patch+json"


class ApiError(Exception):
    """The API server cannot be reached, or refuses; the message names what was asked."""


class ConflictError(ApiError):
    """Somebody else was faster: read again."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret's data, as of one version of it."""

    name: str
    namespace: str
    resource_version: str
    data: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Bundles:
    """The caBundle (PEM) of each webhook of a configuration, by the webhook's name, in order."""

    configuration: str
    by_name: Mapping[str, bytes]

    @property
    def common(self) -> bytes:
        """What all webhooks have, certificate by certificate."""
        blocks = [_blocks(bundle) for bundle in self.by_name.values()]
        return b"".join(block for block in blocks[0] if all(block in b for b in blocks)) if blocks else b""


def _blocks(bundle: bytes) -> list[bytes]:
    end = b"-----END CERTIFICATE-----\n"
    return [block + end for block in bundle.split(end)[:-1]]


class KubernetesApi:
    """A client of the API server."""

    def __init__(self, host: str, port: str, service_account: Path = SERVICE_ACCOUNT_DIRECTORY) -> None:
        """Trust the cluster's authority; every pod has `host` and `port` in its environment."""
        try:
            context = ssl.create_default_context(cafile=str(service_account / "ca.crt"))
        except OSError as error:
            raise StartupError(f"the service account's ca.crt: {error.strerror or error}") from error
        # Strict since Python 3.13; authorities of clusters in the field do not always have what it asks for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        authority = f"[{host}]" if ":" in host else host
        self._token = service_account / "token"
        self._client = httpx.AsyncClient(
            base_url=f"https://{authority}:{port}", verify=context, timeout=_TIMEOUT_SECONDS, trust_env=False
        )

    async def __aenter__(self) -> Self:
        """Open no connection yet."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def secret(self, namespace: str, name: str) -> Secret:
        """Read a Secret. Raises ApiError."""
        document = await self._call("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
        try:
            metadata = mapping(document.get("metadata"), "metadata")
            encoded = mapping(document.get("data"), "data")
            data = {key: base64.b64decode(text(value)) for key, value in encoded.items()}
        except (MalformedError, ValueError) as error:
            raise ApiError(f"Secret {name}: {error}") from None
        return Secret(name, namespace, text(metadata.get("resourceVersion")), data)

    async def write_secret(self, secret: Secret, data: Mapping[str, bytes]) -> None:
        """Change the data of a Secret. Raises ConflictError if it is not what was read, and ApiError."""
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        await self._call(
            "PATCH",
            f"/api/v1/namespaces/{secret.namespace}/secrets/{secret.name}",
            [
                {"op": "test", "path": "/metadata/resourceVersion", "value": secret.resource_version},
                {"op": "add", "path": "/data", "value": encoded},
            ],
        )

    async def bundles(self, configuration: str) -> Bundles:
        """Read whom the webhooks of a configuration trust. Raises ApiError."""
        document = await self._call("GET", f"{_CONFIGURATIONS}/{configuration}")
        found = {}
        try:
            for entry in sequence(document.get("webhooks"), "webhooks"):
                webhook = mapping(entry, "webhooks[]")
                client = mapping(webhook.get("clientConfig"), "clientConfig")
                found[text(webhook.get("name"))] = base64.b64decode(text(client.get("caBundle")))
        except (MalformedError, ValueError) as error:
            raise ApiError(f"MutatingWebhookConfiguration {configuration}: {error}") from None
        return Bundles(configuration, found)

    async def write_bundle(self, current: Bundles, bundle: bytes) -> None:
        """Make all webhooks trust `bundle`. Raises ConflictError if they are not what they were, ApiError."""
        encoded = base64.b64encode(bundle).decode()
        operations = []
        for index, name in enumerate(current.by_name):
            operations.append({"op": "test", "path": f"/webhooks/{index}/name", "value": name})
            path = f"/webhooks/{index}/clientConfig/caBundle"
            operations.append({"op": "add", "path": path, "value": encoded})
        await self._call("PATCH", f"{_CONFIGURATIONS}/{current.configuration}", operations)

    async def _call(self, method: str, path: str, patch: object = None) -> Mapping[str, object]:
        what = f"{method} {path}"
        try:
            # The kubelet exchanges the token from time to time.
            headers = {"Authorization": f"Bearer {self._token.read_text().strip()}"}
            if patch is None:
                response = await self._client.request(method, path, headers=headers)
            else:
                headers["Content-Type"] = _JSON_PATCH
                response = await self._client.request(method, path, headers=headers, json=patch)
        except OSError as error:
            raise ApiError(f"the service account's token: {error.strerror}") from None
        except httpx.HTTPError as error:
            raise ApiError(f"{what}: {type(error).__name__}: {error}") from None
        if (
            response.status_code in {HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY}
            and patch is not None
        ):
            # A failed test operation is reported as 422.
            raise ConflictError(f"{what}: changed meanwhile ({response.status_code})")
        if not response.is_success:
            raise ApiError(f"{what}: {response.status_code} {response.reason_phrase}")
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise ApiError(f"{what}: no JSON object")
        return document
