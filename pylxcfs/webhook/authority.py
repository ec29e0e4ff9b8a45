"""Keeps the Secret, the configuration's caBundle and this process' certificate in step with each other."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pylxcfs.webhook.certificates import Authorities, CertificateError, from_secret, renewed
from pylxcfs.webhook.kubeapi import ApiError, ConflictError, KubernetesApi

#: Replicas that start together collide once or twice.
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """The names of the objects that we are allowed to read and change."""

    namespace: str
    service: str
    secret: str
    configuration: str

    @property
    def dns_names(self) -> tuple[str, ...]:
        """What API servers call us; they ask for the first."""
        name = f"{self.service}.{self.namespace}.svc"
        return (name, f"{name}.cluster.local")


class Authority:
    """All replicas work on one Secret; who comes second takes what the first has written."""

    def __init__(self, api: KubernetesApi, place: Place, now: Callable[[], datetime]) -> None:
        """Do nothing yet. `now` returns UTC."""
        self._api = api
        self._place = place
        self._now = now

    async def read(self) -> tuple[bytes, bytes]:
        """Renew what is due, publish the authorities, and return certificate and key (PEM).

        Raises CertificateError.
        """
        conflict = ""
        try:
            for _ in range(_ATTEMPTS):
                try:
                    authorities = await self._renew()
                    await self._publish(authorities)
                except ConflictError as error:
                    conflict = str(error)
                    continue
                if authorities.leaf is not None:
                    return authorities.leaf.certificate_pem, authorities.leaf.key_pem
        except ApiError as error:
            raise CertificateError(str(error)) from None
        raise CertificateError(f"given up after {_ATTEMPTS} attempts: {conflict}")

    async def _renew(self) -> Authorities:
        secret = await self._api.secret(self._place.namespace, self._place.secret)
        published = (await self._api.bundles(self._place.configuration)).common
        current = from_secret(secret.data)
        wanted = renewed(current, published, self._place.dns_names, self._now())
        if wanted != current:
            await self._api.write_secret(secret, wanted.to_secret())
        return wanted

    async def _publish(self, authorities: Authorities) -> None:
        current = await self._api.bundles(self._place.configuration)
        if any(bundle != authorities.bundle for bundle in current.by_name.values()):
            await self._api.write_bundle(current, authorities.bundle)
