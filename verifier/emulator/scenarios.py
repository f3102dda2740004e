"""Rollovers: chains that the signer can be moved to while the emulator runs, and the trust that matches each.

All of them are made at the start, since the trust directory has to have them before. The authorities of the scenarios
have elliptic keys, which cost nothing to make; the signer's key is RSA in every one, as in Azure.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from verifier.emulator import pki
from verifier.emulator.clouds import Cloud
from verifier.emulator.pki import Identity, Validity
from verifier.emulator.trust_directory import TrustedCertificate, TrustedCloud, write_trust_directory

_DAY: Final = timedelta(days=1)
_CURVE: Final = ec.SECP384R1()
_FOREIGN_HOST: Final = "http://caissuers.emulator.invalid/pkiops/certs"
MOST_ISSUER_URLS: Final = 8
LONGEST_ISSUER_URL: Final = 1024


class Scenario(StrEnum):
    """What the signer of documents chains to."""

    #: As at the start: an issuer that the trust directory pins.
    STABLE = "stable"
    #: Another issuer, which the trust directory pins since before it signed anything.
    STAGED = "staged"
    #: An issuer under the same root that the trust directory does not have.
    UNKNOWN_ISSUER = "unknown-issuer"
    #: A signer that ended yesterday, under the first issuer.
    EXPIRED_SIGNER = "expired-signer"
    #: An issuer that is pinned and ended yesterday; the signer has not.
    EXPIRED_ISSUER = "expired-issuer"
    #: An issuer under a new root, which the trust directory has only as the old root cross-signed it.
    CROSS_SIGNED_ROOT = "cross-signed-root"
    #: One issuer, of one name and key, in two certificates: by the first root and by another one. Both are pinned.
    CROSS_SIGNED_ISSUER = "cross-signed-issuer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainChoice:
    """A scenario, and what its documents show of the issuer.

    `embed_issuer` puts the issuer's certificate into the document, which IMDS does not; `issuer_urls` are those of the
    signer's authority information access, None for the emulator's own two, of which the first one answers.
    """

    scenario: Scenario = Scenario.STABLE
    embed_issuer: bool = False
    issuer_urls: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        urls = self.issuer_urls or ()
        if len(urls) > MOST_ISSUER_URLS or not all(url.isascii() and len(url) <= LONGEST_ISSUER_URL for url in urls):
            raise ValueError(
                f"issuer URLs are at most {MOST_ISSUER_URLS}, of at most {LONGEST_ISSUER_URL} ASCII characters"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Who signs documents, and which certificates these carry beside the signer's."""

    signer: Identity
    embedded: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An authority that a signer can be under, and the name of its file."""

    name: str
    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """The issuer of each scenario that there is, the trust that matches them, and the key of the signer."""

    issuers: Mapping[Scenario, Issuer]
    trusted: tuple[TrustedCertificate, ...]
    signer_key: pki.PrivateKey
    subject: x509.Name
    names: tuple[str, ...]

    @classmethod
    def throw_away(cls, *, now: datetime, cloud: Cloud, region: str) -> Self:
        """Fresh ones, around a PKI that is valid at `now`."""
        made = pki.make_pki(now=now, domain=cloud.domain, region=region)
        always = Validity.around(now, pki.CA_LIFE)
        ended = Validity(not_before=now - 400 * _DAY, not_after=now - _DAY)
        root = made.root
        staged = _make_ca("Emulator Staged CA", issuer=root, validity=always)
        unknown = _make_ca("Emulator Unknown CA", issuer=root, validity=always)
        expired = _make_ca("Emulator Expired CA", issuer=root, validity=ended)
        new_root = _make_root("Emulator New Root", validity=always)
        crossed_root = pki.make_ca(
            issuer=root, subject=new_root.certificate.subject, key=new_root.key, validity=always, path_length=1
        )
        under_new_root = _make_ca("Emulator New Root CA", issuer=new_root, validity=always)
        other_root = _make_root("Emulator Other Root", validity=always)
        twice = _make_ca("Emulator Cross-Signed CA", issuer=root, validity=always)
        twice_by_other = pki.make_ca(
            issuer=other_root, subject=twice.certificate.subject, key=twice.key, validity=always
        )
        return cls(
            issuers={
                Scenario.STABLE: Issuer(name="emulator-issuing-ca", identity=made.issuing_ca),
                Scenario.EXPIRED_SIGNER: Issuer(name="emulator-issuing-ca", identity=made.issuing_ca),
                Scenario.STAGED: Issuer(name="emulator-staged-ca", identity=staged),
                Scenario.UNKNOWN_ISSUER: Issuer(name="emulator-unknown-ca", identity=unknown),
                Scenario.EXPIRED_ISSUER: Issuer(name="emulator-expired-ca", identity=expired),
                Scenario.CROSS_SIGNED_ROOT: Issuer(name="emulator-new-root-ca", identity=under_new_root),
                Scenario.CROSS_SIGNED_ISSUER: Issuer(name="emulator-cross-signed-ca", identity=twice),
            },
            trusted=(
                _trust("emulator-root", root, "every scenario: the anchor; unknown-issuer has nothing else here"),
                _trust("emulator-issuing-ca", made.issuing_ca, "stable and expired-signer"),
                _trust("emulator-staged-ca", staged, "staged: pinned before it signs"),
                _trust("emulator-expired-ca", expired, "expired-issuer: pinned, and ended"),
                _trust("emulator-new-root-cross-signed", crossed_root, "cross-signed-root: its root, by the old one"),
                _trust("emulator-new-root-ca", under_new_root, "cross-signed-root: its issuer"),
                _trust("emulator-other-root", other_root, "cross-signed-issuer: the other anchor"),
                _trust("emulator-cross-signed-ca", twice, "cross-signed-issuer: the form by the first root"),
                _trust("emulator-cross-signed-ca-2", twice_by_other, "cross-signed-issuer: the form by the other"),
            ),
            signer_key=made.signer.key,
            subject=made.signer.certificate.subject,
            names=_names(cloud, region),
        )

    @classmethod
    def kept(cls, authority: Identity, *, cloud: Cloud, region: str) -> Self:
        """One authority, which signs signers directly: no other chains can be made of it that its trust matches."""
        issuer = Issuer(name="emulator-authority", identity=authority)
        return cls(
            issuers={Scenario.STABLE: issuer, Scenario.EXPIRED_SIGNER: issuer},
            trusted=(_trust("emulator-authority", authority, "stable and expired-signer"),),
            signer_key=pki.make_rsa_key(),
            subject=pki.make_name(cloud.domain),
            names=_names(cloud, region),
        )

    def chain(self, choice: ChainChoice, *, now: datetime, base_url: str) -> Chain:
        """A fresh signer's certificate over the one key. Raises ValueError where these authorities lack the scenario.

        `base_url` is where the emulator answers, for its own issuer URL.
        """
        if choice.scenario not in self.issuers:
            raise ValueError(f"the scenario {choice.scenario} needs the emulator's own authorities")
        issuer = self.issuers[choice.scenario]
        urls = choice.issuer_urls
        if urls is None:
            urls = (f"{base_url}/emulator/issuers/{issuer.name}.crt", f"{_FOREIGN_HOST}/{issuer.name}.crt")
        signer = pki.make_signer(
            issuer=issuer.identity,
            subject=self.subject,
            names=self.names,
            key=self.signer_key,
            validity=_signer_validity(choice.scenario, issuer.identity, now),
            issuer_urls=urls,
        )
        return Chain(signer=signer, embedded=(issuer.identity.certificate,) if choice.embed_issuer else ())

    def write_trust(self, directory: Path, *, cloud: Cloud) -> None:
        """What makes a verifier accept their documents, as `write_trust_directory` writes it, and raises."""
        write_trust_directory(
            directory,
            cloud=TrustedCloud(name=cloud.value, domain=cloud.domain),
            certificates=self.trusted,
        )

    def issuer_certificates(self) -> dict[str, x509.Certificate]:
        """What the issuer URLs lead to, by name."""
        return {issuer.name: issuer.identity.certificate for issuer in self.issuers.values()}


def _signer_validity(scenario: Scenario, issuer: Identity, now: datetime) -> Validity:
    if scenario is Scenario.EXPIRED_SIGNER:
        return Validity(not_before=now - 181 * _DAY, not_after=now - _DAY)
    if scenario is Scenario.EXPIRED_ISSUER:
        return Validity.around(now, pki.SIGNER_LIFE)
    return pki.signer_validity(issuer, now=now)


def _make_ca(common_name: str, *, issuer: Identity, validity: Validity) -> Identity:
    return pki.make_ca(
        issuer=issuer, subject=pki.make_name(common_name), key=pki.make_ec_key(_CURVE), validity=validity
    )


def _make_root(common_name: str, *, validity: Validity) -> Identity:
    return pki.make_root(subject=pki.make_name(common_name), key=pki.make_ec_key(_CURVE), validity=validity)


def _trust(name: str, identity: Identity, scenario: str) -> TrustedCertificate:
    certificate = identity.certificate
    return TrustedCertificate(
        name=name,
        role="root" if certificate.subject == certificate.issuer else "intermediate",
        certificate=certificate,
        note=f"Of an emulator, for tests only. For {scenario}.",
    )


def _names(cloud: Cloud, region: str) -> tuple[str, ...]:
    return f"{region}.{cloud.domain}", cloud.domain
