"""A certificate for the NATS server of one installation, and the authority that its services trust for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aperag_standalone import files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LIFETIME = timedelta(days=3650)
RENEWED_BEFORE = timedelta(days=90)
SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files; ``authority`` is all that a client needs, ``key`` is the server's alone."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, directory: Path, hosts: Sequence[str]) -> Certificate:
        """That in ``directory``; made where there is none for all ``hosts``, or none for much longer."""
        found = cls(directory / "ca.pem", directory / "server.pem", directory / "server.key")
        if not found._serves(hosts):
            found._make(hosts)
        return found

    def _serves(self, hosts: Sequence[str]) -> bool:
        if not all(path.exists() for path in (self.authority, self.certificate, self.key)):
            return False
        made = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        left = made.not_valid_after_utc - datetime.now(UTC)
        return left > RENEWED_BEFORE and all(_named(host) in names for host in hosts)

    def _make(self, hosts: Sequence[str]) -> None:
        """The authority signs this one certificate; its key is not kept, so that nobody can sign another."""
        authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ApeRAG NATS authority")])
        authority = _draft(issuer, issuer, authority_key.public_key())
        authority = authority.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        authority = authority.add_extension(_signing(certificates=True), critical=True)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ApeRAG NATS")])
        server = _draft(subject, issuer, server_key.public_key())
        server = server.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        server = server.add_extension(_signing(certificates=False), critical=True)
        server = server.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        server = server.add_extension(x509.SubjectAlternativeName([_named(host) for host in hosts]), critical=False)
        server = server.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        key = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        # The certificate goes last: what was half made is made again.
        files.write_private(self.key, key.decode("ascii"))
        files.write_private(self.authority, _pem(authority.sign(authority_key, SHA256())))
        files.write_private(self.certificate, _pem(server.sign(authority_key, SHA256())))


def _draft(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - SKEW).not_valid_after(now + LIFETIME)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _signing(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")
