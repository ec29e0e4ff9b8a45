"""The webhook's own authority, over the years."""

import ssl
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography import x509

from pylxcfs.webhook.certificates import (
    AUTHORITY_LIFE,
    LEAF_LIFE,
    Authorities,
    CertificateError,
    from_secret,
    new_authority,
    renewed,
)
from pylxcfs.webhook.tls import LiveContext

NAMES: Final = ("pylxcfs-webhook.pylxcfs-webhook.svc",)
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)


def _first() -> Authorities:
    return renewed(Authorities(), b"", NAMES, START)


def _trusts(bundle: bytes, authorities: Authorities) -> bool:
    """Tell whether the leaf is signed by one of the bundle's authorities."""
    assert authorities.leaf is not None
    leaf = authorities.leaf.certificate
    return any(leaf.issuer == issuer.subject for issuer in x509.load_pem_x509_certificates(bundle))


def test_first_certificates() -> None:
    """From nothing come an authority, and a certificate that names the Service."""
    made = _first()
    assert 1 == len(made.issuers)
    assert made.leaf is not None
    names = made.leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(NAMES) == names.get_values_for_type(x509.DNSName)
    assert _trusts(made.bundle, made)


def test_nothing_to_do() -> None:
    """What is not due stays what it is, to the byte."""
    first = _first()
    assert first == renewed(first, first.bundle, NAMES, START + LEAF_LIFE / 2)


def test_secret() -> None:
    """What is written to the Secret is read back."""
    first = _first()
    assert first == from_secret(first.to_secret())
    assert {} == Authorities().to_secret()


@pytest.mark.parametrize("key", ["tls.crt", "tls.key", "ca.crt", "ca.key"])
@pytest.mark.parametrize("change", ["missing", "empty", "nonsense", "of another"])
def test_broken_secret(key: str, change: str) -> None:
    """A Secret that cannot be used counts as empty."""
    data = _first().to_secret()
    values = {
        "empty": b"",
        "nonsense": b"-----BEGIN CERTIFICATE-----\n!",
        "of another": _first().to_secret()[key],
    }
    if change == "missing":
        del data[key]
    else:
        data[key] = values[change]
    assert Authorities() == from_secret(data)


def test_leaf_is_renewed() -> None:
    """After two thirds of its life the certificate is renewed by the same authority, with a new key."""
    first = _first()
    later = renewed(first, first.bundle, NAMES, START + LEAF_LIFE * 2 / 3)
    assert first.issuers == later.issuers
    assert first.leaf is not None
    assert later.leaf is not None
    assert first.leaf.key_pem != later.leaf.key_pem
    assert START + LEAF_LIFE * 5 / 3 == later.leaf.certificate.not_valid_after_utc


def test_leaf_for_other_names() -> None:
    """A certificate for another Service is replaced."""
    first = _first()
    assert first.leaf != renewed(first, first.bundle, ("other.ns.svc",), START).leaf


def test_lost_authority() -> None:
    """A certificate that no authority of the Secret has signed is replaced."""
    first = _first()
    stranger = Authorities((new_authority(START),), first.leaf)
    made = renewed(stranger, b"", NAMES, START)
    assert first.leaf != made.leaf
    assert _trusts(made.bundle, made)


def test_twenty_years() -> None:
    """However often all is renewed, API servers trust what is served, also those that see the list late."""
    authorities, now = _first(), START
    published = seen_late = authorities.bundle
    leaves, most = {authorities.leaf}, 0
    while now < START + 2 * AUTHORITY_LIFE:
        now += 12 * HOUR
        authorities = renewed(authorities, published, NAMES, now)
        # A list of half a day ago, and a certificate of half a day ago.
        assert _trusts(seen_late, authorities)
        seen_late, published = published, authorities.bundle
        assert authorities.leaf is not None
        assert now < authorities.leaf.certificate.not_valid_after_utc
        leaves.add(authorities.leaf)
        most = max(most, len(authorities.issuers))
    assert 2 == most
    assert 1 == len(authorities.issuers) or most == 2
    assert 120 < len(leaves) < 130


def test_unpublished_authority_signs_nothing() -> None:
    """While the configuration cannot be written, a new authority is not used."""
    first = _first()
    now = START + AUTHORITY_LIFE * 2 / 3
    announced = renewed(first, first.bundle, NAMES, now)
    assert 2 == len(announced.issuers)
    much_later = renewed(announced, first.bundle, NAMES, now + LEAF_LIFE)
    assert _trusts(first.bundle, much_later)
    published = renewed(announced, announced.bundle, NAMES, now + LEAF_LIFE)
    assert not _trusts(first.bundle, published)


@pytest.mark.parametrize("age,signs", [(HOUR, False), (DAY - HOUR, False), (DAY, True)])
def test_new_authority_waits(age: timedelta, *, signs: bool) -> None:
    """A new authority signs nothing before it has been published for a day, whatever is due."""
    first = _first()
    now = START + AUTHORITY_LIFE * 2 / 3
    announced = renewed(first, first.bundle, NAMES, now)
    due = renewed(announced, announced.bundle, (*NAMES, "other.svc"), now + age)
    assert signs != _trusts(first.bundle, due)


def test_old_authority_goes() -> None:
    """A day after the new authority signed its first certificate, the old one is no longer trusted."""
    first = _first()
    now = START + AUTHORITY_LIFE * 2 / 3
    announced = renewed(first, first.bundle, NAMES, now)
    signed = renewed(announced, announced.bundle, NAMES, now + LEAF_LIFE)
    assert announced.issuers == signed.issuers
    later = renewed(signed, signed.bundle, NAMES, now + LEAF_LIFE + DAY + HOUR)
    assert signed.issuers[1:] == later.issuers
    assert signed.leaf == later.leaf


def test_all_has_ended() -> None:
    """After years without a running webhook everything is made anew."""
    first = _first()
    later = renewed(first, first.bundle, NAMES, START + AUTHORITY_LIFE + DAY)
    assert not set(first.issuers) & set(later.issuers)
    assert _trusts(later.bundle, later)


def test_openssl_accepts_them() -> None:
    """A strict client, as of Python 3.13, shakes hands by the bundle and the Service's name alone."""
    made = renewed(Authorities(), b"", NAMES, datetime.now(UTC))
    assert made.leaf is not None
    live = LiveContext()
    live.load(made.leaf.certificate_pem, made.leaf.key_pem)
    trust = ssl.create_default_context(cadata=made.bundle.decode())
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    assert "h2" == _handshake(live, trust, NAMES[0])
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(live, trust, "other.svc")


def _handshake(live: LiveContext, trust: ssl.SSLContext, name: str) -> str | None:
    """Shake hands in memory; return the protocol that was agreed on."""
    trust.set_alpn_protocols(["h2"])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = live.ssl_context.wrap_bio(to_server, to_client, server_side=True)
    client = trust.wrap_bio(to_client, to_server, server_hostname=name)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.selected_alpn_protocol()


def test_pair_that_does_not_fit() -> None:
    """A certificate and a key that do not fit are refused, and what was loaded goes on serving."""
    made, other = (renewed(Authorities(), b"", NAMES, datetime.now(UTC)) for _ in range(2))
    assert made.leaf is not None
    assert other.leaf is not None
    live = LiveContext()
    assert live.load(made.leaf.certificate_pem, made.leaf.key_pem)
    assert not live.load(made.leaf.certificate_pem, made.leaf.key_pem)
    for certificate, key in (
        (other.leaf.certificate_pem, made.leaf.key_pem),
        (made.leaf.certificate_pem, other.leaf.key_pem),
        (b"", b""),
        (b"\0", other.leaf.key_pem),
        (other.leaf.certificate_pem, b"\0"),
        (other.leaf.certificate_pem, b""),
    ):
        with pytest.raises(CertificateError):
            live.load(certificate, key)
        assert "h2" == _handshake(live, ssl.create_default_context(cadata=made.bundle.decode()), NAMES[0])
    assert made.leaf.certificate.not_valid_after_utc == live.expires
    assert live.load(other.leaf.certificate_pem, other.leaf.key_pem)
    assert "h2" == _handshake(live, ssl.create_default_context(cadata=other.bundle.decode()), NAMES[0])
