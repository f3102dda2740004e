"""Certificates for a Redis over TLS, made for one test run: an authority, a server on loopback, and a client."""

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from verifier.adapters.redis.urls import RedisOptions

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """One that signs what it is asked to, into files of `directory`."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._sign(name, self._key.public_key(), is_authority=True, names=())
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def make(self, name: str, *names: x509.GeneralName) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(name, key.public_key(), is_authority=False, names=names)
        pair = Pair(self._directory / f"{self._name}-{name}.pem", self._directory / f"{self._name}-{name}.key")
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pair

    def _sign(
        self, name: str, key: ec.EllipticCurvePublicKey, *, is_authority: bool, names: tuple[x509.GeneralName, ...]
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=is_authority,
            crl_sign=is_authority,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self._name)]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + _DAY)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@dataclass(frozen=True, slots=True)
class RedisTls:
    """What both sides have: a server on 127.0.0.1 that asks for a certificate of a client, and the client."""

    authority: Authority
    server: Pair
    client: Pair

    @classmethod
    def make(cls, directory: Path) -> "RedisTls":
        authority = Authority(directory, "authority")
        loopback = x509.IPAddress(ip_address("127.0.0.1"))
        return cls(authority, authority.make("server", loopback), authority.make("client"))

    @property
    def options(self) -> RedisOptions:
        return RedisOptions(
            ca_file=self.authority.file, certificate_file=self.client.certificate, key_file=self.client.key
        )

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """A server's, with its own certificate or another."""
        chosen = pair or self.server
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority.file)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(chosen.certificate, chosen.key)
        return context

    def connect(self, port: int, *, seconds: float) -> ssl.SSLSocket:
        """As the client."""
        context = ssl.create_default_context(cafile=self.authority.file)
        context.load_cert_chain(self.client.certificate, self.client.key)
        plain = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    @property
    def server_arguments(self) -> tuple[str, ...]:
        """Those that make a Redis which was built with TLS speak nothing else, also among its like."""
        return (
            *("--tls-cert-file", str(self.server.certificate), "--tls-key-file", str(self.server.key)),
            *("--tls-ca-cert-file", str(self.authority.file), "--tls-auth-clients", "yes"),
            *("--tls-replication", "yes", "--tls-cluster", "yes"),
        )
