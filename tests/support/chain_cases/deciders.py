"""Decide the chain cases: the product, each of its path validators alone, and `openssl verify`."""

import base64
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cryptography import x509
from support import cms
from support.appraisals import authenticate_archived
from support.chain_cases.keys import Ed25519, Elliptic
from support.chain_cases.recipe import ACCEPT, NAME, REFUSE, Case, Cert, encode, issuer_of, serial_of
from support.chain_cases.values import ANY_POLICY
from support.chains import certvalidator_accepts_path, find_pyca_fault
from support.documents import content
from support.documents import encode as encode_content

from verifier.core.chain import MAX_AUTHORITIES
from verifier.core.model import Limits, RawDocument
from verifier.core.reasons import Check, Refused
from verifier.core.trust.bundle import Role, TrustBundle, TrustedCertificate, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud

#: The security level of at least 112 bits: RSA from 2048 bits, and no SHA-1.
_SECURITY_LEVEL: Final = "2"
#: Paths that the second validator is asked for, at most.
_MAX_PATHS: Final = 32
#: The signature algorithm of a document, by the digest that the signer's key signs with.
_ECDSA: Final = {"sha256": cms.ecdsa(cms.SHA256), "sha384": cms.ecdsa(cms.SHA384), "sha512": cms.ecdsa(cms.SHA512)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one of them decides, with its words. `check` is the product's check that refused."""

    decision: str
    words: str = ""
    check: Check | None = None


def decide_as_product(case: Case) -> Decision:
    """Appraise a document that the signer's key signs, as of the moment of the case.

    The bundle leaves out what it refuses to hold, as an operator has to.
    """
    try:
        bundle = TrustBundle.of(tuple(_entries(case)))
    except TrustError as error:
        return Decision(decision=REFUSE, words=f"The trust bundle is refused: {error}")
    document = RawDocument(raw_der=_document(case.signer, case.at))
    try:
        found = authenticate_archived(document, at=case.at, bundle=bundle, limits=Limits())
    except Refused as refused:
        return Decision(decision=REFUSE, words=refused.detail, check=refused.check)
    return Decision(decision=ACCEPT, words=" <- ".join(link.subject for link in found.chain))


def _entries(case: Case) -> Iterator[TrustedCertificate]:
    for certs, role in ((case.anchors, Role.ROOT), (case.pins, Role.INTERMEDIATE)):
        for cert in certs:
            try:
                yield TrustedCertificate(
                    certificate=Certificate.from_der(encode(cert)),
                    role=role,
                    clouds=frozenset({Cloud.PUBLIC}),
                    source="urn:imds-verifier:test",
                )
            except (CertificateError, TrustError):
                continue


def _document(signer: Cert, at: datetime) -> bytes:
    """Return a document of the usual content that the signer's key signs."""
    data = encode_content(content(created_on=at))
    key, algorithm = signer.key, signer.key.algorithm()
    if isinstance(key, Elliptic):
        scheme = _ECDSA[algorithm.digest]
        digest, named = scheme.digest_algorithm, scheme.signature_algorithm
    else:
        digest, named = cms.digest_algorithm(cms.SHA256), cms.AZURE.signature_algorithm
    if isinstance(key, Ed25519):
        named = cms.Algorithm(oid="1.3.101.112", parameters=None)
    info = cms.SignerInfo(
        issuer=issuer_of(signer),
        serial_number=serial_of(signer),
        digest_algorithm=digest,
        signature_algorithm=named,
        signature=key.sign(data, algorithm),
    )
    return cms.SignedData(
        digest_algorithms=(digest,), content=data, certificates=(encode(signer),), signer_infos=(info,)
    ).encode()


def decide_as_first_validator(case: Case) -> Decision:
    """Search and validate with cryptography alone."""
    try:
        signer, *others = (
            x509.load_der_x509_certificate(encode(one)) for one in (case.signer, *case.anchors, *case.pins)
        )
    except (ValueError, x509.InvalidVersion) as error:
        return Decision(decision=REFUSE, words=str(error))
    count = len(case.anchors)
    words = find_pyca_fault(signer, anchors=others[:count], pins=others[count:], name=NAME, now=case.at)
    return Decision(decision=REFUSE if words else ACCEPT, words=words)


def decide_as_second_validator(case: Case) -> Decision:
    """Validate each path that the names make with pyhanko-certvalidator, which never searches here."""
    for _, path in zip(range(_MAX_PATHS), _paths(case), strict=False):
        if certvalidator_accepts_path(encode(case.signer), [encode(one) for one in path], now=case.at):
            return Decision(decision=ACCEPT)
    return Decision(decision=REFUSE)


def _paths(case: Case) -> Iterator[tuple[Cert, ...]]:
    """Return the authorities of each path of names, from the issuer to an anchor, the short ones first."""
    waiting: list[tuple[Cert, ...]] = [()]
    for path in waiting:
        issuer = issuer_of((path or (case.signer,))[-1])
        yield from ((*path, anchor) for anchor in case.anchors if anchor.subject == issuer)
        if len(path) < len(case.pins):
            waiting += [(*path, pin) for pin in case.pins if pin.subject == issuer and pin not in path]


def decide_as_openssl(case: Case) -> Decision:
    """Run `openssl verify` with the rules of the product that it knows: purpose, name, depth, strength and policies."""
    with TemporaryDirectory() as directory:
        place = Path(directory)
        files = {"signer": (case.signer,), "anchors": case.anchors, "pins": case.pins}
        for name, certs in files.items():
            (place / name).write_text("".join(map(_pem, certs)), encoding="ascii")
        done = subprocess.run(
            [
                *("openssl", "verify", "-no-CApath", "-no-CAstore", "-CAfile", "anchors"),
                *(("-untrusted", "pins") if case.pins else ()),
                *("-attime", str(int(case.at.timestamp())), "-purpose", "sslserver", "-verify_hostname", NAME),
                *("-verify_depth", str(MAX_AUTHORITIES - 1), "-auth_level", _SECURITY_LEVEL),
                *("-x509_strict", "-policy_check", "-policy", ANY_POLICY, "signer"),
            ],
            cwd=place,
            env={"PATH": os.environ["PATH"], "OPENSSL_CONF": os.devnull},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=60,
        )
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    return Decision(decision=REFUSE if done.returncode else ACCEPT, words=lines[0] if lines else "")


def _pem(cert: Cert) -> str:
    # A library would refuse what it cannot read.
    lines = base64.encodebytes(encode(cert)).decode("ascii")
    return f"-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n"


#: Those that decide, by the names that the list of divergences uses.
DECIDERS: Final[dict[str, Callable[[Case], Decision]]] = {
    "product": decide_as_product,
    "cryptography": decide_as_first_validator,
    "certvalidator": decide_as_second_validator,
    "openssl": decide_as_openssl,
}
