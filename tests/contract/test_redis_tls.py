"""Redis over TLS: which certificates are accepted. A proxy before the server terminates TLS with real certificates."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from support.redis_server import RedisServer
from support.redis_tls import Authority, Pair, RedisTls
from support.tcp_proxy import TcpProxy, running_tcp_proxy

from verifier.adapters.redis.link import RedisLink
from verifier.adapters.redis.nodes import tls_context
from verifier.adapters.redis.urls import RedisOptions
from verifier.adapters.settings.settings import SettingsError, load_settings
from verifier.ports.stores import StoreUnavailable
from verifier.startup import connect_stores

LOOPBACK = x509.IPAddress(ip_address("127.0.0.1"))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> RedisTls:
    return RedisTls.make(tmp_path_factory.mktemp("tls"))


@contextmanager
def fronted(server: RedisServer, context: ssl.SSLContext) -> Iterator[TcpProxy]:
    with running_tcp_proxy(server.port, tls=context) as proxy:
        yield proxy


def ping(port: int, options: RedisOptions, *, host: str = "127.0.0.1") -> None:
    with closing(RedisLink.open(f"rediss://{host}:{port}", options=options)) as link:
        link.ping()


def test_a_server_that_the_given_authority_signed_is_accepted(redis_server: RedisServer, tls: RedisTls) -> None:
    with fronted(redis_server, tls.context()) as proxy:
        ping(proxy.port, tls.options)


def test_takes_the_files_from_the_settings(
    redis_server: RedisServer, tls: RedisTls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIFIER_REDIS_CA_FILE", str(tls.authority.file))
    monkeypatch.setenv("VERIFIER_REDIS_CERTIFICATE_FILE", str(tls.client.certificate))
    with fronted(redis_server, tls.context()) as proxy:
        monkeypatch.setenv("VERIFIER_NONCE_STORE", f"rediss://127.0.0.1:{proxy.port}")
        with pytest.raises(SettingsError, match="must be set together"):
            load_settings()
        monkeypatch.setenv("VERIFIER_REDIS_KEY_FILE", str(tls.client.key))
        stores = connect_stores(load_settings())
        stores.nonces.ping()
        assert stores.link is not None
        stores.link.close()


def test_the_given_authority_replaces_those_of_the_system(
    redis_server: RedisServer, tls: RedisTls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tmp_path, "other")
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority.file))  # the system's authorities
    with fronted(redis_server, tls.context()) as proxy:
        ping(proxy.port, replace(tls.options, ca_file=None))
        with pytest.raises(StoreUnavailable, match="TLS"):
            ping(proxy.port, replace(tls.options, ca_file=other.file))


def test_a_server_with_an_unknown_authority_is_refused(redis_server: RedisServer, tls: RedisTls) -> None:
    with fronted(redis_server, tls.context()) as proxy:
        with pytest.raises(StoreUnavailable, match="does not accept the other's certificate"):
            ping(proxy.port, RedisOptions())
        assert proxy.bytes_up == 0


def test_a_certificate_for_another_name_is_refused(redis_server: RedisServer, tls: RedisTls) -> None:
    elsewhere = tls.authority.make("elsewhere", x509.DNSName("redis.example.com"))
    with fronted(redis_server, tls.context(elsewhere)) as proxy, pytest.raises(StoreUnavailable, match="TLS"):
        ping(proxy.port, tls.options)
    with fronted(redis_server, tls.context()) as proxy, pytest.raises(StoreUnavailable, match="TLS"):
        ping(proxy.port, tls.options, host="localhost")


def test_a_server_that_refuses_the_client_certificate_is_unavailable(
    redis_server: RedisServer, tls: RedisTls, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger").make("client")
    for certificate_file, key_file in ((None, None), (stranger.certificate, stranger.key)):
        options = replace(tls.options, certificate_file=certificate_file, key_file=key_file)
        with fronted(redis_server, tls.context()) as proxy, pytest.raises(StoreUnavailable):
            ping(proxy.port, options)


def test_a_server_without_tls_is_unavailable(redis_server: RedisServer, tls: RedisTls) -> None:
    with pytest.raises(StoreUnavailable):
        ping(redis_server.port, tls.options)


def test_renewed_files_are_in_force_without_a_restart(redis_server: RedisServer, tls: RedisTls, tmp_path: Path) -> None:
    renewed = Authority(tmp_path, "renewed")
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(tls.authority.file.read_bytes())
    options = RedisOptions(ca_file=ca_file, certificate_file=tls.client.certificate, key_file=tls.client.key)
    after = tls.context(renewed.make("server", LOOPBACK))
    with fronted(redis_server, tls.context()) as proxy:
        port = proxy.port
        link = RedisLink.open(f"rediss://127.0.0.1:{port}", options=options)
        link.ping()
    with running_tcp_proxy(redis_server.port, tls=after, port=port):
        with pytest.raises(StoreUnavailable):
            link.ping()
        ca_file.write_bytes(renewed.file.read_bytes())
        for _ in range(100):
            try:
                link.ping()
                break
            except StoreUnavailable:
                threading.Event().wait(0.02)
        else:
            raise AssertionError("the renewed authority is not accepted")
    link.close()


def test_unusable_files_are_refused_at_the_start(tls: RedisTls, tmp_path: Path) -> None:
    missing, garbage = tmp_path / "missing.pem", tmp_path / "garbage.pem"
    garbage.write_text("no certificate", encoding="ascii")
    pair = tls.client
    for options in (
        RedisOptions(ca_file=missing),
        RedisOptions(ca_file=garbage),
        RedisOptions(certificate_file=missing, key_file=pair.key),
        RedisOptions(certificate_file=pair.certificate, key_file=tls.server.key),
        RedisOptions(certificate_file=pair.certificate, key_file=encrypted(pair, tmp_path)),
    ):
        with pytest.raises(ValueError, match=r"cannot use \S+ (or \S+ )*for TLS \("):
            RedisLink.open("rediss://h", options=options)
        RedisLink.open("redis://h", options=options).close()  # without TLS, the files are not read


def encrypted(pair: Pair, directory: Path) -> Path:
    """Write its key with a passphrase, which the service cannot enter."""
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    file = directory / "encrypted.key"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    return file


def test_verification_is_always_on() -> None:
    context = tls_context(None, None, None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
