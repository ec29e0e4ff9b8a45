"""The webhook's own certificate authority: what there is, and what is to become of it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import dropwhile
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE: Final = timedelta(days=3650)
LEAF_LIFE: Final = timedelta(days=90)
#: How long a new authority is published before it signs anything, and an old one after its last use. By then
#: every API server has seen the list, and every replica the certificate.
ANNOUNCEMENT: Final = timedelta(days=1)
#: Clocks of nodes differ.
_BACKDATE: Final = timedelta(hours=1)

_CERTIFICATE: Final = "tls.crt"
_KEY: Final = "tls.key"
_AUTHORITIES: Final = "ca.crt"
_AUTHORITY_KEYS: Final = "ca.key"
_KEY_BLOCK: Final = re.compile(rb"-----BEGIN PRIVATE KEY-----.+?-----END PRIVATE KEY-----\n?", re.DOTALL)


class CertificateError(Exception):
    """Certificates that cannot be used; the message says why, and quotes no key."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    #: PKCS #8, PEM.
    key_pem: bytes

    @property
    def certificate_pem(self) -> bytes:
        """The certificate as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    def is_due(self, now: datetime) -> bool:
        """Tell whether two thirds of its life are over."""
        start, end = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return now >= start + (end - start) * 2 / 3


@dataclass(frozen=True, slots=True)
class Authorities:
    """All that the Secret keeps. `issuers` are oldest first; there is a `leaf` if there is an issuer."""

    issuers: tuple[Pair, ...] = ()
    leaf: Pair | None = None

    @property
    def bundle(self) -> bytes:
        """The caBundle (PEM): whom API servers should trust."""
        return b"".join(issuer.certificate_pem for issuer in self.issuers)

    def to_secret(self) -> dict[str, bytes]:
        """Return the Secret's data."""
        if self.leaf is None:
            return {}
        return {
            _CERTIFICATE: self.leaf.certificate_pem,
            _KEY: self.leaf.key_pem,
            _AUTHORITIES: self.bundle,
            _AUTHORITY_KEYS: b"".join(issuer.key_pem for issuer in self.issuers),
        }


def from_secret(data: Mapping[str, bytes]) -> Authorities:
    """Read a Secret's data; one that is empty or cannot be used is nothing, and will be replaced."""
    try:
        certificates = x509.load_pem_x509_certificates(data[_AUTHORITIES])
        keys = _KEY_BLOCK.findall(data[_AUTHORITY_KEYS])
        issuers = tuple(Pair(c, k) for c, k in zip(certificates, keys, strict=True))
        leaf = Pair(x509.load_pem_x509_certificate(data[_CERTIFICATE]), data[_KEY])
        for pair in (*issuers, leaf):
            if load_pem_private_key(pair.key_pem, None).public_key() != pair.certificate.public_key():
                return Authorities()
    except (KeyError, ValueError, TypeError):
        return Authorities()
    return Authorities(issuers, leaf)


def renewed(current: Authorities, published: bytes, names: tuple[str, ...], now: datetime) -> Authorities:
    """Return what `current` should be at `now`: itself, if nothing is due.

    `published` is the caBundle that API servers have. But for the very first, no authority signs anything
    before it is in there. `names` are the DNS names of the Service.
    """
    issuers = tuple(i for i in current.issuers if now < i.certificate.not_valid_after_utc)
    if not issuers:
        first = new_authority(now)
        return Authorities((first,), new_leaf(first, names, now))
    if issuers[-1].is_due(now):
        issuers = (*issuers, new_authority(now))
    leaf = current.leaf
    signer = _signer(issuers, published, now)
    if leaf is None or leaf.is_due(now) or _names(leaf) != names or not _issuer_of(leaf, issuers):
        leaf = new_leaf(signer, names, now)
    elif _age(leaf, now) >= ANNOUNCEMENT:
        # What is older than the leaf's issuer has signed nothing that is still in use.
        issuers = tuple(dropwhile(lambda issuer: not _issued(issuer, leaf), issuers))
    return Authorities(issuers, leaf)


def _signer(issuers: tuple[Pair, ...], published: bytes, now: datetime) -> Pair:
    """Return the newest authority that every API server knows."""
    known = [
        issuer
        for issuer in issuers
        if issuer.certificate_pem in published and _age(issuer, now) >= ANNOUNCEMENT
    ]
    return known[-1] if known else issuers[0]


def _age(pair: Pair, now: datetime) -> timedelta:
    return now - pair.certificate.not_valid_before_utc - _BACKDATE


def _issued(issuer: Pair, leaf: Pair) -> bool:
    try:
        leaf.certificate.verify_directly_issued_by(issuer.certificate)
    except Exception:  # noqa: BLE001 - InvalidSignature, ValueError or TypeError, whatever does not fit
        return False
    return True


def _issuer_of(leaf: Pair, issuers: tuple[Pair, ...]) -> bool:
    return any(_issued(issuer, leaf) for issuer in issuers)


def _names(leaf: Pair) -> tuple[str, ...]:
    try:
        extension = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value.get_values_for_type(x509.DNSName))


def new_authority(now: datetime) -> Pair:
    """Make an authority. Names differ, so that a chain is never tried with the wrong one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"pylxcfs-webhook {now:%Y-%m-%dT%H:%M:%SZ}")])
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = (
        _builder(now, AUTHORITY_LIFE)
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(subject_key, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key), critical=False
        )
    )
    return Pair(builder.sign(key, hashes.SHA256()), _pem(key))


def new_leaf(issuer: Pair, names: tuple[str, ...], now: datetime) -> Pair:
    """Make a server certificate for `names`. API servers look at the alternative names only."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_key = load_pem_private_key(issuer.key_pem, None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise CertificateError("the authority's key is not of our making")
    public_key = issuer.certificate.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise CertificateError("the authority's certificate is not of our making")
    builder = (
        _builder(now, LEAF_LIFE)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pylxcfs-webhook")]))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key), critical=False)
    )
    return Pair(builder.sign(issuer_key, hashes.SHA256()), _pem(key))


def _builder(now: datetime, life: timedelta) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + life)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
