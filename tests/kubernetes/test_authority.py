"""Secret, caBundle and certificate, with an API server that has the manifests' roles."""

import base64
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import trio

from pylxcfs.webhook.authority import Authority, Place
from pylxcfs.webhook.certificates import AUTHORITY_LIFE, LEAF_LIFE, CertificateError
from pylxcfs.webhook.kubeapi import KubernetesApi
from tests.kubernetes.kubeapi_server import CONFIGURATION, SECRET, KubeApi, serving

PLACE: Final = Place("pylxcfs-webhook", "pylxcfs-webhook", "pylxcfs-webhook-tls", "pylxcfs-webhook")


class _Clock:
    """Time as tests want it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@asynccontextmanager
async def _cluster(directory: Path) -> AsyncIterator[tuple[KubeApi, Authority, _Clock]]:
    clock = _Clock()
    async with (
        serving(directory) as (api, port, account),
        KubernetesApi("127.0.0.1", str(port), account) as client,
    ):
        yield api, Authority(client, PLACE, clock), clock


def _bundles(api: KubeApi) -> set[bytes]:
    webhooks: list[dict[str, Any]] = api.objects[CONFIGURATION]["webhooks"]
    return {base64.b64decode(webhook["clientConfig"].get("caBundle", "")) for webhook in webhooks}


def _secret(api: KubeApi, key: str) -> bytes:
    return base64.b64decode(api.objects[SECRET]["data"][key])


async def test_first_start(tmp_path: Path) -> None:
    """The empty Secret is filled, every webhook of the configuration trusts it, and no more has changed."""
    async with _cluster(tmp_path) as (api, authority, _):
        before = copy.deepcopy(api.objects[CONFIGURATION])
        certificate, key = await authority.read()
        assert (certificate, key) == (_secret(api, "tls.crt"), _secret(api, "tls.key"))
        assert {_secret(api, "ca.crt")} == _bundles(api)
        after = copy.deepcopy(api.objects[CONFIGURATION])
        for webhook in after["webhooks"]:
            del webhook["clientConfig"]["caBundle"]
        after["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
        assert before == after


async def test_nothing_is_written_twice(tmp_path: Path) -> None:
    """When all is in order, it is only read."""
    async with _cluster(tmp_path) as (api, authority, _):
        first = await authority.read()
        api.requests.clear()
        assert first == await authority.read()
        assert {"GET"} == {method for method, _, _ in api.requests}


async def test_replicas_agree(tmp_path: Path) -> None:
    """Replicas that start at the same moment end with the same certificate."""
    async with (
        serving(tmp_path) as (api, port, account),
        KubernetesApi("127.0.0.1", str(port), account) as client,
    ):
        found: list[tuple[bytes, bytes]] = []
        clock = _Clock()

        async def start() -> None:
            found.append(await Authority(client, PLACE, clock).read())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(start)
        assert {(_secret(api, "tls.crt"), _secret(api, "tls.key"))} == set(found)
        assert {_secret(api, "ca.crt")} == _bundles(api)


async def test_other_is_faster(tmp_path: Path) -> None:
    """A Secret that changes between reading and writing is read again, not overwritten."""
    async with _cluster(tmp_path) as (api, authority, clock):
        await authority.read()
        filled = copy.deepcopy(api.objects[SECRET])
        del api.objects[SECRET]["data"]

        def fill() -> None:
            api.change(SECRET, filled)

        api.interference.append(fill)
        assert base64.b64decode(filled["data"]["tls.crt"]) == (await authority.read())[0]
        assert clock() < datetime(2026, 1, 2, tzinfo=UTC)


async def test_bundle_is_repaired(tmp_path: Path) -> None:
    """A configuration that was applied anew, without caBundle, or for other webhooks, gets it again."""
    async with _cluster(tmp_path) as (api, authority, _):
        await authority.read()
        del api.objects[CONFIGURATION]["webhooks"][1]["clientConfig"]["caBundle"]
        api.objects[CONFIGURATION]["webhooks"][0]["clientConfig"]["caBundle"] = ""
        await authority.read()
        assert {_secret(api, "ca.crt")} == _bundles(api)


async def test_renewal(tmp_path: Path) -> None:
    """Over years certificates are renewed, and with them all webhooks' bundles, alike."""
    async with _cluster(tmp_path) as (api, authority, clock):
        certificates = [(await authority.read())[0]]
        bundles = [_bundles(api)]
        for _ in range(70):
            clock.now += LEAF_LIFE * 2 / 3
            certificates.append((await authority.read())[0])
            bundles.append(_bundles(api))
        assert clock.now > datetime(2026, 1, 1, tzinfo=UTC) + AUTHORITY_LIFE
        assert len(certificates) == len(set(certificates))
        assert all(1 == len(published) for published in bundles)
        assert 2 == max(published.pop().count(b"BEGIN") for published in bundles)


@pytest.mark.parametrize("status", [401, 403, 404, 409, 429, 500, 503])
async def test_api_server_refuses(tmp_path: Path, status: int) -> None:
    """An API server that refuses is one error, which names what was asked; later all is well."""
    async with _cluster(tmp_path) as (api, authority, _):
        api.failures.extend([status] * 20)
        with pytest.raises(CertificateError, match=str(status)):
            await authority.read()
        api.failures.clear()
        await authority.read()


async def test_api_server_is_away(tmp_path: Path) -> None:
    """An API server that cannot be reached is an error of the same kind."""
    async with serving(tmp_path) as (_, port, account):
        pass
    async with KubernetesApi("127.0.0.1", str(port), account) as client:
        with pytest.raises(CertificateError, match=r"GET .*ConnectError"):
            await Authority(client, PLACE, _Clock()).read()


async def test_token_is_read_anew(tmp_path: Path) -> None:
    """The token that the kubelet exchanges is read at each request."""
    async with (
        serving(tmp_path) as (_, port, account),
        KubernetesApi("127.0.0.1", str(port), account) as client,
    ):
        authority = Authority(client, PLACE, _Clock())
        token = (account / "token").read_text()
        (account / "token").write_text("old")
        with pytest.raises(CertificateError, match="401"):
            await authority.read()
        (account / "token").write_text(token)
        await authority.read()


async def test_roles_allow_nothing_else(tmp_path: Path) -> None:
    """The roles of the manifests give what is used, by name, and no more."""
    async with _cluster(tmp_path) as (api, authority, _):
        await authority.read()
        used = {(method, path) for method, path, _ in api.requests}
        assert {(method, path) for method in ("GET", "PATCH") for path in (SECRET, CONFIGURATION)} == used
        for path in (SECRET, CONFIGURATION):
            assert not any(api.allowed(method, path) for method in ("PUT", "DELETE", "POST"))
            assert not api.allowed("GET", f"{path}x")
        assert not api.allowed("GET", SECRET.replace("/pylxcfs-webhook/", "/default/"))
