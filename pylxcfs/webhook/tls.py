"""One TLS context for the life of the process, whose certificate can be exchanged while it serves."""

import os
import ssl
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from pylxcfs.webhook.certificates import CertificateError

_PROTOCOLS: Final = ("h2", "http/1.1")


class LiveContext:
    """The context. New connections get the certificate that was loaded last; open ones go on."""

    def __init__(self) -> None:
        """Make it without a certificate: handshakes fail until there is one."""
        self.ssl_context: Final = _server_context()
        self.expires: datetime | None = None
        self._loaded = b""

    def load(self, certificate_pem: bytes, key_pem: bytes) -> bool:
        """Take a certificate (with its chain) and key into use; return False if they are in use already.

        Raises CertificateError, and goes on with what it had, if they do not fit.
        """
        pem = certificate_pem.rstrip() + b"\n" + key_pem
        if pem == self._loaded:
            return False
        try:
            expires = x509.load_pem_x509_certificate(certificate_pem).not_valid_after_utc
            # A load that fails half-way leaves a context without key: try it on another one.
            _load(_server_context(), pem)
            _load(self.ssl_context, pem)
        except (ValueError, ssl.SSLError) as error:
            raise CertificateError(f"certificate and key cannot be used: {type(error).__name__}") from None
        self._loaded, self.expires = pem, expires
        return True


class CertificateFiles:
    """Certificate and key in files that somebody else renews: cert-manager, OpenShift's service CA."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read nothing yet."""
        self._certificate = certificate
        self._key = key

    def read(self) -> tuple[bytes, bytes]:
        """Return both. Raises CertificateError.

        A Secret's volume is exchanged as a whole; reading in the midst of it gives a pair that does not fit,
        which is refused, and read again later.
        """
        try:
            return self._certificate.read_bytes(), self._key.read_bytes()
        except OSError as error:
            raise CertificateError(f"{error.filename}: {error.strerror}") from None


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(_PROTOCOLS))
    return context


def _load(context: ssl.SSLContext, pem: bytes) -> None:
    """Load from memory, by the detour of a file that no file system has: the interface takes paths only."""
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
