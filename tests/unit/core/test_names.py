"""The signer's names select the cloud."""

import hashlib
import sys
from dataclasses import replace

import pytest
from cryptography import x509
from support.certificates import make_signer
from support.documents import der, shared_pki

from verifier.core import names
from verifier.core.bounds import IDENTITY_CACHE_BYTES
from verifier.core.byte_cache import ByteCache
from verifier.core.model import NamedContent, SignedContent
from verifier.core.names import claimed_cloud, identify_cloud
from verifier.core.reasons import Check, Reason, SignerNameRefused
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud

SIGNER = Certificate.from_der(der(shared_pki().signer.certificate))
DOMAIN = b"metadata.azure.com"
EASTUS = b"eastus.metadata.azure.com"


def identify(
    *,
    common_names: tuple[bytes, ...] = (DOMAIN,),
    dns_names: tuple[bytes, ...] = (EASTUS, DOMAIN),
    is_ca: bool = False,
    key_usage: frozenset[str] | None = frozenset({"digital_signature"}),
    extended_key_usage: frozenset[str] | None = frozenset({"1.3.6.1.5.5.7.3.1"}),
) -> NamedContent:
    signer = signer_with(
        common_names=common_names,
        dns_names=dns_names,
        is_ca=is_ca,
        key_usage=key_usage,
        extended_key_usage=extended_key_usage,
    )
    return identify_cloud(SignedContent(sha256="", content=b"", signer=signer, unverified_candidates=()))


def signer_with(**changes: object) -> Certificate:
    """A signer of its own: identities are cached by the SHA-256."""
    return replace(SIGNER, sha256=hashlib.sha256(repr(changes).encode()).hexdigest(), **changes)  # type: ignore[arg-type]  # it checks the names


def test_the_content_that_was_signed_is_passed_on() -> None:
    signed = SignedContent(sha256="", content=b"content", signer=SIGNER, unverified_candidates=())
    assert identify_cloud(signed).signed is signed


def test_the_cache_weighs_the_strings_of_an_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    weigh = names._weigh  # noqa: SLF001 - the weights are what bounds the memory
    cache: ByteCache[str, names._Identity] = ByteCache(IDENTITY_CACHE_BYTES, weigh)
    monkeypatch.setattr(names, "_IDENTITIES", cache)
    named = identify(dns_names=(b"weighed.metadata.azure.com",))
    assert named.names == ("metadata.azure.com", "weighed.metadata.azure.com")
    assert cache.weight == 512 + sum(sys.getsizeof(name) + 8 for name in named.names)


def test_a_certificate_is_identified_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = identify(dns_names=(b"once.metadata.azure.com",))
    monkeypatch.setattr(names, "cloud_of", None)
    assert identify(dns_names=(b"once.metadata.azure.com",)) == first


@pytest.mark.parametrize("cloud", Cloud)
def test_names_of_one_cloud_select_that_cloud(cloud: Cloud) -> None:
    domain = cloud.domain.encode()
    named = identify(common_names=(domain,), dns_names=(b"one." + domain,))
    assert named.cloud is cloud
    assert named.server_name == f"one.{cloud.domain}"
    assert named.names == (cloud.domain, f"one.{cloud.domain}")


@pytest.mark.parametrize(
    ("common_names", "dns_names", "server_name"),
    [
        ((DOMAIN,), (EASTUS,), "eastus.metadata.azure.com"),
        ((), (EASTUS,), "eastus.metadata.azure.com"),
        ((DOMAIN,), (), None),
        ((b"testsubdomain.metadata.azure.com",), (), None),
        ((DOMAIN,), (b"example.com", EASTUS, DOMAIN), "eastus.metadata.azure.com"),
        ((DOMAIN.upper(),), (EASTUS.upper(),), "eastus.metadata.azure.com"),
        ((DOMAIN,), (b"*.metadata.azure.com",), "wildcard.metadata.azure.com"),
        ((b"*.metadata.azure.com",), (DOMAIN,), "metadata.azure.com"),
        ((DOMAIN,), (b"evilmetadata.azure.com", DOMAIN), "metadata.azure.com"),
    ],
)
def test_the_server_name_is_the_first_alternative_name_that_matched(
    common_names: tuple[bytes, ...], dns_names: tuple[bytes, ...], server_name: str | None
) -> None:
    named = identify(common_names=common_names, dns_names=dns_names)
    assert named.cloud is Cloud.PUBLIC
    assert named.server_name == server_name


@pytest.mark.parametrize(
    ("common_names", "dns_names"),
    [
        ((), ()),
        ((b"",), (DOMAIN,)),
        ((b"evilmetadata.azure.com",), (DOMAIN,)),
        ((b"metadata.azure.com.evil.net",), (DOMAIN,)),
        ((b"metadata.azure.com.",), (DOMAIN,)),
        ((b"metadata.azure.com\0.evil.net",), (DOMAIN,)),
        (("met\u0430data.azure.com".encode(),), (DOMAIN,)),
        (("metadata.azure.com".encode("utf-16-be"),), (DOMAIN,)),
        ((DOMAIN, DOMAIN), (DOMAIN,)),
        ((DOMAIN, b"evil.net"), (DOMAIN,)),
        ((DOMAIN,), (b"evil.net",)),
        ((DOMAIN,), (b"metadata.azure.com.",)),
        ((DOMAIN,), (b"metadata.azure.com\0",)),
        ((), (b"evil.net", b"")),
        ((DOMAIN,), (b"metadata.azure.us",)),
        ((DOMAIN,), (DOMAIN, b"metadata.azure.us")),
        ((), (DOMAIN, b"metadata.azure.cn")),
        ((b"metadata.azure.us",), (DOMAIN,)),
    ],
)
def test_refuses_names_that_do_not_belong_to_exactly_one_cloud(
    common_names: tuple[bytes, ...], dns_names: tuple[bytes, ...]
) -> None:
    with pytest.raises(SignerNameRefused) as caught:
        identify(common_names=common_names, dns_names=dns_names)
    assert caught.value.reason is Reason.SIGNER_NAME_MISMATCH
    assert caught.value.check is Check.SIGNER_NAME


@pytest.mark.parametrize("cloud", Cloud)
def test_an_unverified_signer_claims_the_cloud_of_its_names(cloud: Cloud) -> None:
    domain = cloud.domain.encode()
    assert claimed_cloud(signer_with(common_names=(), dns_names=(b"claimed." + domain,))) is cloud


def test_a_signer_that_names_no_cloud_claims_none() -> None:
    with pytest.raises(SignerNameRefused, match="common name is not in the domain"):
        claimed_cloud(signer_with(common_names=(b"claimed.example.com",), dns_names=()))


def test_refuses_an_authority() -> None:
    with pytest.raises(SignerNameRefused, match="certificate authority"):
        identify(is_ca=True)


@pytest.mark.parametrize("usage", [frozenset(), frozenset({"key_encipherment", "key_cert_sign"})])
def test_refuses_a_key_that_is_not_for_signatures(usage: frozenset[str]) -> None:
    with pytest.raises(SignerNameRefused, match="digital signatures"):
        identify(key_usage=usage)


@pytest.mark.parametrize("usage", [frozenset(), frozenset({"1.3.6.1.5.5.7.3.2"}), frozenset({"2.5.29.37.0"})])
def test_refuses_a_certificate_that_is_not_for_a_tls_server(usage: frozenset[str]) -> None:
    with pytest.raises(SignerNameRefused, match="TLS server"):
        identify(extended_key_usage=usage)


def test_absent_usages_are_no_restriction() -> None:
    assert identify(key_usage=None, extended_key_usage=None).cloud is Cloud.PUBLIC


def test_additional_usages_are_accepted() -> None:
    both = frozenset({"1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"})
    named = identify(key_usage=frozenset({"digital_signature", "key_encipherment"}), extended_key_usage=both)
    assert named.cloud is Cloud.PUBLIC


def test_a_name_that_is_not_text_is_escaped() -> None:
    signer = Certificate.from_der(
        der(make_signer(extensions=[x509.SubjectAlternativeName([x509.DNSName("a.b")])]).certificate)
    )
    odd = replace(signer, sha256="odd", dns_names=(DOMAIN, b"\xff\0"))
    named = identify_cloud(SignedContent(sha256="", content=b"", signer=odd, unverified_candidates=()))
    assert named.names == ("metadata.azure.com", "\\xff\0")
