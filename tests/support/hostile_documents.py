"""Send mutants of documents, in every form of evidence, through the input reader and all checks of the core.

Not checked: the nonce, because no state is kept here. `support.hostile_requests` redeems nonces.
"""

import base64
import json
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import islice
from time import process_time

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from support import documents
from support.document_bases import BASES
from support.document_mutants import difference
from support.mutations import random_mutants
from support.tally import Tally, Timed
from support.vectors import document_of, load_vectors, vectors_trust

from verifier.core import evidence, pipeline
from verifier.core.encoding.cms import SignedData, read_signed_data
from verifier.core.model import Archived, AuthenticContent, Limits, RawDocument, UnverifiedClaims
from verifier.core.policy import Policies
from verifier.core.reasons import Reason, Refused
from verifier.core.trust.bundle import TrustBundle
from verifier.usecases.chain_cache import ChainCache

OTHER_WRITING = "the same document, written in another way"
ANOTHER = "another accepted document, with which this one was spliced"
REPAIRED = "a vector without its fault: its trusted signer did sign this content"
#: The faults of vectors that a change outside the signed content can repair.
_REPAIRABLE = frozenset(
    {Reason.MALFORMED_EVIDENCE, Reason.UNSUPPORTED_ENCODING, Reason.TOO_LARGE, Reason.ALGORITHM_REFUSED}
)
_HASHES = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
#: Of ten mutants, one is a change of a text around the document, and two are cut or spliced.
_FORMS = ("text", "piece", "piece", *["element"] * 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One original: an accepted document, or a vector that is refused for `reason`."""

    name: str
    der: bytes
    bundle: TrustBundle
    at: datetime
    reason: Reason | None = None


@cache
def targets() -> tuple[Target, ...]:
    """Return the real samples, one document of each kind of signature, and all vectors that are CMS."""
    own = (Target(name=one.name, der=one.make(), bundle=one.bundle(), at=one.at) for one in BASES)
    return (*own, *_vectors())


def _vectors() -> Iterator[Target]:
    seen: set[bytes] = set()
    for vector in load_vectors():
        try:
            der = document_of(vector).raw_der
            list(islice(random_mutants(der, 1, 0), 1))
        except (Refused, ValueError, IndexError):
            continue  # no bytes of a document, or not DER
        if der not in seen:
            seen.add(der)
            made = Target(name=vector.name, der=der, bundle=vectors_trust(), at=vector.at)
            try:
                Appraiser().appraise(RawDocument(raw_der=der), at=made.at, bundle=made.bundle)
            except Refused as refused:
                made = replace(made, reason=refused.reason)
            yield made


class Appraiser:
    """Make all checks but the nonce's, and measure the chain check apart."""

    def __init__(self) -> None:
        self._chains = ChainCache()
        #: The CPU time of all chain checks so far, in seconds.
        self.chain_seconds = 0.0

    def appraise(self, document: RawDocument, *, at: datetime, bundle: TrustBundle) -> AuthenticContent:
        """Raises Refused."""

        def build(claims: UnverifiedClaims) -> AuthenticContent:
            started = process_time()
            try:
                return self._chains.build(claims, now=at, bundle=bundle)
            finally:
                self.chain_seconds += process_time() - started

        verified = pipeline.appraise(
            document,
            now=at,
            limits=Limits(),
            needs_times=False,
            build_chain=build,
            establish_freshness=lambda content: Archived(content=content, has_expected_nonce=False),
            policies=Policies(),
            tenant_policy=Policies.DEFAULT,
            request_policy=None,
        )
        return verified.fresh.content


def read(form: str, body: bytes) -> RawDocument:
    """Read the evidence as the service does. Raises Refused."""
    evidence.check_size(body)
    return evidence.from_file(body) if form == "text" else evidence.from_der(body)


def attack_documents(number: int, seed: int) -> Tally:
    """Appraise `number` mutants, the same ones for the same seed. The vectors get as many as the other originals."""
    tally = Tally(kind="documents")
    accepted = [target for target in targets() if target.reason is None]
    refused = [target for target in targets() if target.reason is not None]
    appraiser = Appraiser()
    with Timed(tally) as timed:
        for group, share in ((accepted, number - number // 4), (refused, number // 4)):
            for place, target in enumerate(group):
                count = share * (place + 1) // len(group) - share * place // len(group)
                for form, body in hostile_bodies(target, count, 1000 * seed + place):
                    _attack(tally, appraiser, target, form, body)
                    timed.count()
    return tally


def _attack(tally: Tally, appraiser: Appraiser, target: Target, form: str, body: bytes) -> None:
    started = process_time() - appraiser.chain_seconds
    try:
        document = read(form, body)
        content = appraiser.appraise(document, at=target.at, bundle=target.bundle)
    except Refused as refused:
        tally.spend(process_time() - appraiser.chain_seconds - started, body)
        tally.refused[refused.code] += 1
        return
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        tally.fail(f"{target.name}: {type(error).__name__}: {error}, for {form} {body.hex()}")
        return
    tally.spend(process_time() - appraiser.chain_seconds - started, body)
    name = explain(target, document, content)
    if name:
        tally.accepted[name] += 1
    else:
        tally.fail(f"{target.name}: accepted without a permitted difference, for {form} {body.hex()}")


def explain(target: Target, document: RawDocument, content: AuthenticContent) -> str:
    """Name the permitted difference of an accepted mutant from its original. Return an empty string without one.

    The signed content and the signer's certificate must be those of the original.
    """
    own = [target] if target.reason is None else []
    for original in (*own, *originals().get(content.signed_bytes, [])):
        found = _explain(original, document, content)
        if found:
            return found if original is target else ANOTHER
    parts = read_signed_data(document.raw_der)
    signer = x509.load_der_x509_certificate(content.signer.der)
    # The fault may be in the certificate, outside the part that its issuer signed.
    is_part = content.signed_bytes in target.der and signer.tbs_certificate_bytes in target.der
    is_trusted = is_part and is_issued(signer, target.bundle) and is_signed(parts, content.signer.der)
    return REPAIRED if target.reason in _REPAIRABLE and is_trusted else ""


def _explain(original: Target, document: RawDocument, content: AuthenticContent) -> str:
    parts = read_signed_data(original.der)
    if content.signed_bytes != parts.content or content.signer.der not in parts.certificates:
        return ""
    if document.raw_der == original.der:
        return OTHER_WRITING
    return difference(document.raw_der, original.der)


@cache
def originals() -> Mapping[bytes, Sequence[Target]]:
    """Return the accepted documents by their signed content."""
    found: dict[bytes, list[Target]] = defaultdict(list)
    for target in targets():
        if target.reason is None:
            found[read_signed_data(target.der).content].append(target)
    return found


def is_issued(signer: x509.Certificate, bundle: TrustBundle) -> bool:
    """Verify the signature of a pinned issuer on the certificate, without the code of the verifier."""
    pins = {pin.certificate.der for cloud in bundle.clouds.values() for pin in cloud.pins}
    for pin in map(x509.load_der_x509_certificate, pins):
        with suppress(InvalidSignature, ValueError, TypeError):
            signer.verify_directly_issued_by(pin)
            return True
    return False


def is_signed(parts: SignedData, signer: bytes) -> bool:
    """Verify the signature over the content without the code of the verifier: with any padding and digest."""
    key = x509.load_der_x509_certificate(signer).public_key()
    for algorithm in _HASHES:
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(parts.signature, parts.content, ec.ECDSA(algorithm))
                return True
            if isinstance(key, rsa.RSAPublicKey):
                _verify_rsa(key, parts, algorithm)
                return True
        except InvalidSignature:
            continue
    return False


def _verify_rsa(key: rsa.RSAPublicKey, parts: SignedData, algorithm: hashes.HashAlgorithm) -> None:
    """Raises InvalidSignature."""
    pss = padding.PSS(mgf=padding.MGF1(algorithm), salt_length=algorithm.digest_size)
    try:
        key.verify(parts.signature, parts.content, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        key.verify(parts.signature, parts.content, pss, algorithm)


def hostile_bodies(target: Target, number: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield `number` bodies with their form: changes of elements and bytes, cuts and splices, and changes of texts."""
    chance = random.Random(seed)  # noqa: S311 - the same bodies in every run
    elements = random_mutants(target.der, number, seed)
    others = [other.der for other in targets()]
    for _ in range(number):
        form = chance.choice(_FORMS)
        match form:
            case "text":
                yield form, change_bytes(chance.choice(tuple(writings(target.der))), chance)
            case "piece":
                yield form, _cut_or_splice(target.der, chance.choice(others), chance)
            case _:
                yield form, next(elements)


def writings(der: bytes) -> Iterator[bytes]:
    """Yield the document in each form that the service takes besides DER."""
    text = base64.b64encode(der)
    yield text
    yield b"-----BEGIN PKCS7-----\n" + text + b"\n-----END PKCS7-----\n"
    yield json.dumps(documents.imds_answer(der)).encode()
    yield json.dumps(documents.imds_answer(der)).encode("utf-16")


def change_bytes(data: bytes, chance: random.Random) -> bytes:
    """Change, insert, remove or repeat a few bytes in up to three places."""
    for _ in range(chance.choice((1, 1, 2, 3))):
        place, size = chance.randrange(len(data) + 1), chance.choice((1, 1, 1, 2, 4, 16))
        start, end = data[:place], data[place:]
        data = chance.choice(
            (
                start + chance.randbytes(size) + end[size:],
                start + chance.randbytes(size) + end,
                start + chance.choice((b" ", b"\n", b"=", b'"', b"\\", b",", b"{", b"A", b"-")) + end,
                start + end[size:],
                start + end[:size] + end,
                start + bytes(byte ^ 1 << chance.randrange(8) for byte in end[:1]) + end[1:],
            )
        )
    return data


def _cut_or_splice(der: bytes, other: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(1, len(der))
    start = chance.randrange(len(other))
    piece = other[start : start + chance.choice((4, 32, 256, 2000))]
    return chance.choice(
        (
            der[:place],
            der[place:],
            der[:place] + piece + der[place + len(piece) :],
            der[:place] + piece + der[place:],
            der[:place] + other[place:],
            der[:place] + bytes(chance.choice((1, 16, 1000))) + der[place:],
        )
    )


def document_cost(body: bytes) -> float:
    """Return the CPU time of one body without the chain check, in seconds.

    The body is appraised at the time of each original, because the time decides which check comes last.
    """
    appraiser, most = Appraiser(), 0.0
    for at, bundle in {target.at: target.bundle for target in targets()}.items():
        started = process_time() - appraiser.chain_seconds
        with suppress(Refused):
            appraiser.appraise(read("text", body), at=at, bundle=bundle)
        most = max(most, process_time() - appraiser.chain_seconds - started)
    return most
