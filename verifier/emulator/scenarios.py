"""Scenarios: the chains that a test can switch the signer to, and the trust that a verifier needs for them.

All authorities are made at the start, because the trust directory must contain them. They have EC keys, which are cheap
to make. The signer's key is RSA in every scenario, as in Azure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from verifier.emulator import pki
from verifier.emulator.clouds import AzureCloud
from verifier.emulator.pki import Identity, Validity
from verifier.emulator.trust_directory import TrustedCertificate

_DAY: Final = timedelta(days=1)
_CURVE: Final = ec.SECP384R1()
_UNRESOLVABLE_URL: Final = "http://caissuers.emulator.invalid/pkiops/certs"
_MAX_URLS: Final = 8
_MAX_URL_LENGTH: Final = 1024


class Scenario(StrEnum):
    """The authority that issues the signer's certificate."""

    #: The default: an issuer that the trust directory pins.
    STABLE = "stable"
    #: A second issuer, which the trust directory pins before it signs.
    STAGED = "staged"
    #: An issuer under the same root that is missing in the trust directory.
    UNKNOWN_ISSUER = "unknown-issuer"
    #: A signer that expired yesterday, under the default issuer.
    EXPIRED_SIGNER = "expired-signer"
    #: A pinned issuer that expired yesterday, with a signer that is still valid.
    EXPIRED_ISSUER = "expired-issuer"
    #: An issuer under a new root. The trust directory has the new root only as the old root cross-signed it.
    CROSS_SIGNED_ROOT = "cross-signed-root"
    #: An issuer with one name and key in two certificates, from two roots. Both are pinned.
    CROSS_SIGNED_ISSUER = "cross-signed-issuer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainChoice:
    """A scenario, and what its documents reveal about the issuer.

    `embed_issuer` adds the issuer's certificate to the document, which IMDS does not do. `issuer_urls` go into the
    authority information access of the signer. None: one URL of this emulator, and one that does not resolve.
    """

    scenario: Scenario = Scenario.STABLE
    embed_issuer: bool = False
    issuer_urls: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        urls = self.issuer_urls or ()
        if len(urls) > _MAX_URLS or not all(url.isascii() and len(url) <= _MAX_URL_LENGTH for url in urls):
            raise ValueError(
                f"at most {_MAX_URLS} issuer URLs of at most {_MAX_URL_LENGTH} ASCII characters are allowed"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """The signer of documents, and the further certificates that they contain."""

    signer: Identity
    embedded: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issuer:
    """The authority that issues a signer, and the name of its file."""

    name: str
    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """The issuer of each available scenario, the matching trust, and the key of the signer."""

    issuers: Mapping[Scenario, _Issuer]
    trusted: tuple[TrustedCertificate, ...]
    signer_key: pki.PrivateKey
    subject: x509.Name
    names: tuple[str, ...]

    @classmethod
    def generate(cls, *, now: datetime, cloud: AzureCloud, region: str) -> Self:
        """Make new authorities for every scenario, valid at `now`."""
        base = pki.make_pki(now=now, domain=cloud.domain, region=region)
        valid = Validity.around(now, pki.CA_LIFETIME)
        expired = Validity(not_before=now - 400 * _DAY, not_after=now - _DAY)
        root = base.root
        staged = _make_ca("Emulator Staged CA", issuer=root, validity=valid)
        unknown = _make_ca("Emulator Unknown CA", issuer=root, validity=valid)
        expired_ca = _make_ca("Emulator Expired CA", issuer=root, validity=expired)
        new_root = _make_root("Emulator New Root", validity=valid)
        crossed_root = pki.make_ca(
            issuer=root, subject=new_root.certificate.subject, key=new_root.key, validity=valid, path_length=1
        )
        new_root_ca = _make_ca("Emulator New Root CA", issuer=new_root, validity=valid)
        other_root = _make_root("Emulator Other Root", validity=valid)
        crossed_ca = _make_ca("Emulator Cross-Signed CA", issuer=root, validity=valid)
        crossed_ca_2 = pki.make_ca(
            issuer=other_root, subject=crossed_ca.certificate.subject, key=crossed_ca.key, validity=valid
        )
        return cls(
            issuers={
                Scenario.STABLE: _Issuer(name="emulator-issuing-ca", identity=base.issuing_ca),
                Scenario.EXPIRED_SIGNER: _Issuer(name="emulator-issuing-ca", identity=base.issuing_ca),
                Scenario.STAGED: _Issuer(name="emulator-staged-ca", identity=staged),
                Scenario.UNKNOWN_ISSUER: _Issuer(name="emulator-unknown-ca", identity=unknown),
                Scenario.EXPIRED_ISSUER: _Issuer(name="emulator-expired-ca", identity=expired_ca),
                Scenario.CROSS_SIGNED_ROOT: _Issuer(name="emulator-new-root-ca", identity=new_root_ca),
                Scenario.CROSS_SIGNED_ISSUER: _Issuer(name="emulator-cross-signed-ca", identity=crossed_ca),
            },
            trusted=(
                _trust("emulator-root", root, "every scenario, including unknown-issuer"),
                _trust("emulator-issuing-ca", base.issuing_ca, "stable and expired-signer"),
                _trust("emulator-staged-ca", staged, "staged as its issuer"),
                _trust("emulator-expired-ca", expired_ca, "expired-issuer as its issuer"),
                _trust("emulator-new-root-cross-signed", crossed_root, "cross-signed-root as its cross-signed root"),
                _trust("emulator-new-root-ca", new_root_ca, "cross-signed-root as its issuer"),
                _trust("emulator-other-root", other_root, "cross-signed-issuer as its second anchor"),
                _trust("emulator-cross-signed-ca", crossed_ca, "cross-signed-issuer, signed by the first root"),
                _trust("emulator-cross-signed-ca-2", crossed_ca_2, "cross-signed-issuer, signed by the second root"),
            ),
            signer_key=base.signer.key,
            subject=base.signer.certificate.subject,
            names=_names(cloud, region),
        )

    @classmethod
    def from_ca(cls, authority: Identity, *, cloud: AzureCloud, region: str) -> Self:
        """Use one CA that signs the signers directly. Only `STABLE` and `EXPIRED_SIGNER` are available then."""
        issuer = _Issuer(name="emulator-authority", identity=authority)
        return cls(
            issuers={Scenario.STABLE: issuer, Scenario.EXPIRED_SIGNER: issuer},
            trusted=(_trust("emulator-authority", authority, "stable and expired-signer"),),
            signer_key=pki.make_rsa_key(),
            subject=pki.make_name(cloud.domain),
            names=_names(cloud, region),
        )

    def chain(self, choice: ChainChoice, *, now: datetime, base_url: str) -> Chain:
        """Issue a signer for the scenario. Raises ValueError if these authorities do not have it.

        `base_url` is the address of the emulator, for its own issuer URL.
        """
        if choice.scenario not in self.issuers:
            raise ValueError(f"the scenario {choice.scenario} is not available with --authority")
        issuer = self.issuers[choice.scenario]
        urls = choice.issuer_urls
        if urls is None:
            urls = (f"{base_url}/emulator/issuers/{issuer.name}.crt", f"{_UNRESOLVABLE_URL}/{issuer.name}.crt")
        signer = pki.make_signer(
            issuer=issuer.identity,
            subject=self.subject,
            names=self.names,
            key=self.signer_key,
            validity=_signer_validity(choice.scenario, issuer.identity, now),
            issuer_urls=urls,
        )
        return Chain(signer=signer, embedded=(issuer.identity.certificate,) if choice.embed_issuer else ())

    def issuer_certificates(self) -> dict[str, x509.Certificate]:
        """Return the certificates that the issuer URLs serve, by file name."""
        return {issuer.name: issuer.identity.certificate for issuer in self.issuers.values()}


def _signer_validity(scenario: Scenario, issuer: Identity, now: datetime) -> Validity:
    if scenario is Scenario.EXPIRED_SIGNER:
        return Validity(not_before=now - 181 * _DAY, not_after=now - _DAY)
    if scenario is Scenario.EXPIRED_ISSUER:
        return Validity.around(now, pki.SIGNER_LIFETIME)
    return pki.signer_validity(issuer, now=now)


def _make_ca(common_name: str, *, issuer: Identity, validity: Validity) -> Identity:
    return pki.make_ca(
        issuer=issuer, subject=pki.make_name(common_name), key=pki.make_ec_key(_CURVE), validity=validity
    )


def _make_root(common_name: str, *, validity: Validity) -> Identity:
    return pki.make_root(subject=pki.make_name(common_name), key=pki.make_ec_key(_CURVE), validity=validity)


def _trust(name: str, identity: Identity, usage: str) -> TrustedCertificate:
    certificate = identity.certificate
    return TrustedCertificate(
        name=name,
        role="root" if certificate.subject == certificate.issuer else "intermediate",
        certificate=certificate,
        note=f"Emulator certificate, for tests only. Used by {usage}.",
    )


def _names(cloud: AzureCloud, region: str) -> tuple[str, ...]:
    # Some machines have their region in capitals, and no signer has.
    return f"{region.lower()}.{cloud.domain}", cloud.domain
