"""Certificates in files, exchanged as the kubelet does."""

from pathlib import Path

import trustme

from tests.kubernetes.program import SERVER_NAME


class SecretVolume:
    """A Secret's volume: its files are links through ``..data``, which is exchanged atomically."""

    def __init__(self, directory: Path) -> None:
        """Make it, empty."""
        self.certificate = directory / "tls.crt"
        self.key = directory / "tls.key"
        self._directory = directory
        self._versions = 0
        directory.mkdir()
        for file in (self.certificate, self.key):
            file.symlink_to(f"..data/{file.name}")

    def issue(self, authority: trustme.CA) -> None:
        """Put a new certificate in."""
        issued = authority.issue_cert(SERVER_NAME)
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        self.put(chain, issued.private_key_pem.bytes())

    def put(self, certificate: bytes, key: bytes) -> None:
        """Put these in."""
        self._versions += 1
        version = self._directory / f"..{self._versions}"
        version.mkdir()
        (version / "tls.crt").write_bytes(certificate)
        (version / "tls.key").write_bytes(key)
        link = self._directory / "..data_tmp"
        link.symlink_to(version.name)
        link.rename(self._directory / "..data")
