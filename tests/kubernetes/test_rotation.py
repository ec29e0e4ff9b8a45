"""Certificates are exchanged under load."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio
import trustme

from tests.kubernetes.certificate_files import SecretVolume
from tests.kubernetes.pods import pod
from tests.kubernetes.program import SERVER_NAME, Program, client, running, trusting
from tests.kubernetes.reviews import patch_of, review
from tests.kubernetes.waiting import until

_ROTATIONS: Final = 12
_CLIENTS: Final = 3
_BODY: Final = json.dumps(review(pod())).encode()


class _Load:
    """Clients that keep their connection, and clients that make a new one each time."""

    def __init__(self, program: Program, *authorities: trustme.CA) -> None:
        self.answered = 0
        self.stopped = False
        self._program = program
        self._trust = trusting(*(authority.cert_pem.bytes() for authority in authorities))

    async def run(self, *, keep: bool, http2: bool) -> None:
        """Ask until told to stop; any failure ends the test."""
        http = client(self._trust, http2=http2)
        while not self.stopped:
            response = await http.post(
                self._program.reviews,
                content=_BODY,
                headers={"content-type": "application/json"},
                extensions={"sni_hostname": SERVER_NAME},
            )
            assert (200, True) == (response.status_code, patch_of(response.content) != [])
            self.answered += 1
            if not keep:
                await http.aclose()
                http = client(self._trust, http2=http2)
        await http.aclose()


def _count(program: Program, message: str) -> int:
    return len(program.messages(message))


async def test_rotation_under_load(tmp_path: Path) -> None:
    """Not one review fails while certificates and authorities are exchanged, and broken pairs appear."""
    authorities = (trustme.CA(), trustme.CA())
    volume = SecretVolume(tmp_path / "tls")
    volume.issue(authorities[0])
    options = ("--tls-cert", volume.certificate, "--tls-key", volume.key, "--check-seconds", "0.02")
    async with running(tmp_path, *options) as program:
        await program.until_ready()
        load = _Load(program, *authorities)

        async def until_more(what: str, count: Callable[[], int], more: int) -> None:
            enough = count() + more
            await until(what, lambda: count() >= enough)

        async with trio.open_nursery() as nursery:
            for number in range(_CLIENTS):
                for keep in (True, False):
                    nursery.start_soon(partial(load.run, keep=keep, http2=number % 2 == 0))
            for number in range(_ROTATIONS):
                refused = partial(_count, program, "certificate")
                taken = partial(_count, program, "certificate taken into use")
                # A key that belongs to no certificate here.
                volume.put(
                    volume.certificate.read_bytes(), authorities[0].issue_cert("x").private_key_pem.bytes()
                )
                await until_more("refused", refused, 1)
                before = taken()
                volume.issue(authorities[number % 2])
                await until_more("taken into use", taken, before + 1 - taken())
                await until_more("some load", lambda: load.answered, 2 * _CLIENTS)
            load.stopped = True
        assert load.answered >= _ROTATIONS * 2 * _CLIENTS
        assert 1.0 + _ROTATIONS == await program.metric("pylxcfs_webhook_certificate_loads_total")
        assert 0.0 < await program.metric("pylxcfs_webhook_certificate_errors_total")
