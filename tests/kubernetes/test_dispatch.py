"""Pods through an API server that calls the running webhook as the manifests say."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import pytest
import trio
import trustme
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, Scope

from tests.kubernetes.applied import files
from tests.kubernetes.certificate_files import SecretVolume
from tests.kubernetes.dispatcher import ApiServer, Rejected
from tests.kubernetes.kubeapi_server import CONFIGURATION, serving
from tests.kubernetes.manifests import find
from tests.kubernetes.pods import ALL, NONE, PROC, TOKEN_MOUNT, container, mount, pod
from tests.kubernetes.program import Program, running
from tests.kubernetes.waiting import until

_ENABLED: Final = {"pylxcfs.io/inject": "enabled"}
_NAMESPACES: Final = {
    "shop": {"kubernetes.io/metadata.name": "shop", **_ENABLED},
    "plain": {"kubernetes.io/metadata.name": "plain"},
    "closed": {"kubernetes.io/metadata.name": "closed", "pylxcfs.io/inject": "disabled"},
    "kube-system": {"kubernetes.io/metadata.name": "kube-system", **_ENABLED},
    "strict": {
        "kubernetes.io/metadata.name": "strict",
        "pod-security.kubernetes.io/enforce": "restricted",
        **_ENABLED,
    },
}


def _configuration(bundle: bytes) -> dict[str, Any]:
    configuration = find("webhook", "MutatingWebhookConfiguration")
    for webhook in configuration["webhooks"]:
        webhook["clientConfig"]["caBundle"] = base64.b64encode(bundle).decode()
        # The machine may be slow; what times out is tested with a webhook that never answers.
        webhook["timeoutSeconds"] = 60
    return configuration


@asynccontextmanager
async def _api_server(directory: Path) -> AsyncIterator[tuple[ApiServer, Program]]:
    authority = trustme.CA()
    volume = SecretVolume(directory / "tls")
    volume.issue(authority)
    async with running(directory, "--tls-cert", volume.certificate, "--tls-key", volume.key) as program:
        await program.until_ready()
        bundle = authority.cert_pem.bytes()
        yield ApiServer(_configuration(bundle), ("127.0.0.1", program.port), _NAMESPACES), program


@pytest.mark.parametrize(
    "namespace,labels,called,expected",
    [
        ("shop", {}, ["namespace.inject.pylxcfs.io"], ALL),
        ("shop", _ENABLED, ["namespace.inject.pylxcfs.io"], ALL),
        ("shop", {"pylxcfs.io/inject": "disabled"}, [], NONE),
        ("shop", {"pylxcfs.io/inject": "false"}, [], NONE),
        ("shop", {"app.kubernetes.io/part-of": "pylxcfs"}, [], NONE),
        ("plain", {}, [], NONE),
        ("plain", _ENABLED, ["pod.inject.pylxcfs.io"], ALL),
        ("closed", _ENABLED, [], NONE),
        ("kube-system", _ENABLED, [], NONE),
        ("strict", _ENABLED, [], NONE),
    ],
)
async def test_selection(
    tmp_path: Path, namespace: str, labels: dict[str, str], called: list[str], expected: frozenset[str]
) -> None:
    """Namespaces and pods ask for files and decline them by one label; the webhook sees no others."""
    async with _api_server(tmp_path) as (api, _):
        outcome = await api.create(pod(labels=labels), namespace)
        assert (called, []) == (outcome.called, outcome.ignored)
        assert expected == files(outcome.pod)["app"]


@pytest.mark.parametrize(
    "spec",
    [{"os": {"name": "windows"}}, {"hostUsers": False}],
)
async def test_match_conditions(tmp_path: Path, spec: dict[str, Any]) -> None:
    """What the configuration's conditions rule out is not sent."""
    async with _api_server(tmp_path) as (api, _):
        assert [] == (await api.create(pod(**spec), "shop")).called
        mirror = pod(annotations={"kubernetes.io/config.mirror": "x"})
        assert [] == (await api.create(mirror, "shop")).called


async def test_conflict_and_audit(tmp_path: Path) -> None:
    """The user is warned of what was left out, and the audit log has the outcome."""
    async with _api_server(tmp_path) as (api, _):
        outcome = await api.create(
            pod(container(volumeMounts=[mount("/sys", "kube-api-access-x2z9k")])), "shop"
        )
        assert {"app": PROC} == files(outcome.pod)
        (warning,) = outcome.warnings
        assert (
            "pylxcfs: container app has a mount of its own at, above or below /sys/devices/system/cpu"
            == warning
        )
        assert "injected" == outcome.audit["namespace.inject.pylxcfs.io/reason"]


async def test_reinvocation(tmp_path: Path) -> None:
    """A sidecar that comes after us gets the files in the second round, which adds nothing else."""

    def inject_sidecar(subject: dict[str, Any]) -> None:
        subject["spec"]["containers"].insert(0, container("proxy", volumeMounts=[TOKEN_MOUNT]))

    async with _api_server(tmp_path) as (api, _):
        api.after = (inject_sidecar,)
        outcome = await api.create(pod(), "shop")
        assert {"proxy": ALL, "app": ALL} == files(outcome.pod)
        assert ["namespace.inject.pylxcfs.io"] * 2 == outcome.called
        assert 1 + len(ALL) == len(outcome.pod["spec"]["volumes"])


async def test_debug(tmp_path: Path) -> None:
    """With ``kubectl debug`` the ephemeral container sees what the pod's containers see."""
    async with _api_server(tmp_path) as (api, _):
        created = (await api.create(pod(), "shop")).pod
        outcome = await api.debug(created, "shop", {"name": "debugger", "image": "busybox"})
        assert {"app": ALL, "debugger": ALL} == files(outcome.pod)
        assert ["ephemeral.inject.pylxcfs.io"] == outcome.called
        plain = (await api.create(pod(), "plain")).pod
        assert [] == (await api.debug(plain, "plain", {"name": "debugger"})).called


async def test_own_certificates(tmp_path: Path) -> None:
    """In a cluster, the webhook fills Secret and configuration, and is trusted by that alone."""
    async with serving(tmp_path) as (kube, port, account):
        environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
        options = ("--service-account", account, "--check-seconds", "0.05")
        async with running(tmp_path, *options, environment=environment) as program:
            await program.until_ready()
            api = ApiServer(kube.objects[CONFIGURATION], ("127.0.0.1", program.port), _NAMESPACES)
            for webhook in api.configuration["webhooks"]:
                webhook["timeoutSeconds"] = 60
            outcome = await api.create(pod(), "shop")
            assert ([], {"app": ALL}) == (outcome.ignored, files(outcome.pod))
            kube.failures.extend([503] * 3)
            await until("the complaints", lambda: len(program.messages("certificate")) >= 3)
            assert {"app": ALL} == files((await api.create(pod(), "shop")).pod)


# What webhooks must not do, to know that the API server above would notice.


@asynccontextmanager
async def _bad_webhook(directory: Path, change: object) -> AsyncIterator[ApiServer]:
    """Serve a webhook whose response is changed before it is sent."""
    authority = trustme.CA()
    volume = SecretVolume(directory / "tls")
    volume.issue(authority)

    async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        message = await receive()
        assert message["type"] == "http.request"
        if change == "silence":
            await trio.sleep_forever()
        uid = json.loads(message["body"])["request"]["uid"]
        response = {"uid": uid, "allowed": True, "patchType": "JSONPatch", "patch": ""}
        document = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        assert isinstance(change, dict)
        status = change.get("status", 200)
        document.update(change.get("document", {}))
        response.update(change.get("response", {}))
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(document).encode(), "more_body": False})

    config = Config()
    config.bind, config.errorlog = ["127.0.0.1:0"], None
    config.certfile, config.keyfile = str(volume.certificate), str(volume.key)
    async with trio.open_nursery() as nursery:
        end = trio.Event()
        bad = partial(serve, cast("ASGIFramework", application), config, shutdown_trigger=end.wait)
        binds = await nursery.start(bad)
        configuration = _configuration(authority.cert_pem.bytes())
        if change == "silence":
            configuration["webhooks"][0]["timeoutSeconds"] = 0.1
        yield ApiServer(configuration, ("127.0.0.1", int(binds[0].rpartition(":")[2])), _NAMESPACES)
        end.set()
        nursery.cancel_scope.cancel()


def _patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"response": {"patch": base64.b64encode(json.dumps(operations).encode()).decode()}}


@pytest.mark.parametrize(
    "change",
    [
        "silence",
        {"status": 500},
        {"document": {"apiVersion": "admission.k8s.io/v1beta1"}},
        {"document": {"kind": "Review"}},
        {"document": {"response": None}},
        {"response": {"uid": "other"}},
        {"response": {"patchType": "MergePatch"}},
        {"response": {"patch": "%"}},
    ],
)
async def test_the_api_server_ignores_failed_calls(tmp_path: Path, change: object) -> None:
    """A failed call leaves the pod as it is under Ignore, and rejects it under Fail."""
    async with _bad_webhook(tmp_path, change) as api:
        outcome = await api.create(pod(), "shop")
        assert (1, {"app": NONE}) == (len(outcome.ignored), files(outcome.pod))
        api.configuration["webhooks"][0]["failurePolicy"] = "Fail"
        with pytest.raises(Rejected, match="failed calling webhook"):
            await api.create(pod(), "shop")


@pytest.mark.parametrize(
    "change,message",
    [
        (_patch({"op": "replace", "path": "/spec/x", "value": 1}), "internal error"),
        (_patch({"op": "add", "path": "/spec/x/y", "value": 1}), "internal error"),
        (_patch({"op": "add", "path": "/spec/volumes/-", "value": {"name": TOKEN_MOUNT["name"]}}), "invalid"),
        (_patch({"op": "add", "path": "/spec/containers/0/volumeMounts/-", "value": mount("/x")}), "invalid"),
        ({"response": {"allowed": False, **_patch()["response"]}}, "denied"),
    ],
)
async def test_the_api_server_rejects_bad_patches(tmp_path: Path, change: object, message: str) -> None:
    """A patch that does not apply, or makes an invalid pod, rejects the pod whatever the failure policy."""
    async with _bad_webhook(tmp_path, change) as api:
        with pytest.raises(Rejected, match=message):
            await api.create(pod(), "shop")


async def test_the_api_server_checks_names_and_authorities(tmp_path: Path) -> None:
    """A webhook that is somebody else's is not asked."""
    async with _api_server(tmp_path) as (api, _):
        for webhook in api.configuration["webhooks"]:
            webhook["clientConfig"]["service"]["name"] = "other"
        assert (await api.create(pod(), "shop")).ignored[0].startswith("ConnectError")
        api.configuration = _configuration(trustme.CA().cert_pem.bytes())
        assert (await api.create(pod(), "shop")).ignored[0].startswith("ConnectError")


async def test_pod_security_would_reject(tmp_path: Path) -> None:
    """Without the selector, Pod Security would reject injected pods: this is what it is for."""
    async with _api_server(tmp_path) as (api, _):
        del api.configuration["webhooks"][0]["namespaceSelector"]
        with pytest.raises(Rejected, match="violates PodSecurity restricted"):
            await api.create(pod(), "strict")
