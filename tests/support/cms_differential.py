"""Compare the checks `format` and `signature` with `openssl cms -verify`, which verifies no certificate here.

If only the product refuses a document, one entry of STRICTER must say why. If they read another content or another
signer, that is a fault. If only OpenSSL refuses a document, that is a fault too, apart from two cases:
- The product does not read the certificates beside the signer's. OpenSSL must accept the document without them.
- OpenSSL cannot read a field of the signer's certificate that a later check of the product refuses.
"""

import base64
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from support.der_parts import encode_signed_data

from verifier.core.encoding.cms import read_signed_data
from verifier.core.envelope import read_envelope
from verifier.core.model import RawDocument
from verifier.core.reasons import Reason, Refused
from verifier.core.signature import verify_signature

BOTH_ACCEPT: Final = "accepted by both"
BOTH_REFUSE: Final = "refused by both"
OTHER_CERTIFICATE: Final = "accepted by the product, and refused by openssl for a certificate beside the signer's"
ENCODED_AGAIN: Final = "refused by the product for signed attributes that are not DER, which openssl encodes again"
LATER_CHECK: Final = "refused by openssl, and by the product in a later check"
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")
#: Without the options of the second line it would read the system's authorities each time.
_VERIFY: Final = (
    *("openssl", "cms", "-verify", "-inform", "DER", "-binary", "-noverify"),
    *("-no-CAfile", "-no-CApath", "-no-CAstore"),
)
_ENCODE: Final = ("openssl", "cms", "-cmsout", "-inform", "DER", "-outform", "DER")
#: The documents that wait for a process at one time.
_BATCH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The content, and the certificate of the signer in DER."""

    content: bytes = field(repr=False)
    signer: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Why a document is refused. `reason` is one of the product."""

    words: str
    reason: Reason | None = None


def verify_as_product(document: bytes) -> Verified | Failed:
    try:
        signed = verify_signature(read_envelope(RawDocument(raw_der=document)))
    except Refused as refused:
        return Failed(words=refused.detail, reason=refused.reason)
    return Verified(content=signed.content, signer=signed.signer.der)


def verify_as_openssl(document: bytes) -> Verified | Failed:
    """Run `openssl cms -verify`, which writes the content and the signers' certificates."""
    with TemporaryDirectory() as directory:
        signers = Path(directory) / "signers"
        done = subprocess.run(
            [*_VERIFY, "-signer", signers],
            input=document,
            env={"PATH": os.environ["PATH"], "OPENSSL_CONF": os.devnull},
            capture_output=True,
            check=False,
            timeout=60,
        )
        if done.returncode:
            return Failed(words=done.stderr.decode(errors="replace"))
        # A library would refuse certificates that OpenSSL reads.
        found = _PEM.findall(signers.read_text("ascii"))
    return Verified(content=done.stdout, signer=b"".join(map(base64.b64decode, found)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The number of documents by outcome, and the faults."""

    outcomes: Counter[str]
    faults: tuple[str, ...]


def compare_all(documents: Iterable[bytes], *, is_accepted: Callable[[bytes], bool]) -> Tally:
    """Compare each document. The processes of OpenSSL run on all processors.

    `is_accepted` says whether every check of the product accepts a document.
    """
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    for document, ours, theirs in _verify_all(documents):
        fault = find_fault(ours, theirs)
        outcome = outcome_of(ours, theirs)
        if isinstance(ours, Verified) and isinstance(theirs, Failed):
            if ours == verify_as_openssl(_without_other_certificates(document, ours)):
                fault, outcome = "", OTHER_CERTIFICATE
            elif not is_accepted(document):
                fault, outcome = "", LATER_CHECK
        elif (
            isinstance(ours, Failed)
            and ours.reason is Reason.SIGNATURE_INVALID
            and isinstance(theirs, Verified)
            and verify_as_product(_encoded_again(document)) == theirs
        ):
            # The signature is over other bytes than those of the document (RFC 5652 5.4), so it does not match.
            fault, outcome = "", ENCODED_AGAIN
        outcomes[outcome] += 1
        if fault:
            faults.append(f"{fault}: {document.hex()}")
    return Tally(outcomes=outcomes, faults=tuple(faults))


def _verify_all(documents: Iterable[bytes]) -> Iterator[tuple[bytes, Verified | Failed, Verified | Failed]]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        waiting = iter(documents)
        while batch := tuple(islice(waiting, _BATCH)):
            for document, theirs in zip(batch, pool.map(verify_as_openssl, batch), strict=True):
                yield document, verify_as_product(document), theirs


def _without_other_certificates(document: bytes, ours: Verified) -> bytes:
    return encode_signed_data(replace(read_signed_data(document), certificates=(ours.signer,)))


def _encoded_again(document: bytes) -> bytes:
    """Return what OpenSSL writes of a document that it can read."""
    done = subprocess.run(_ENCODE, input=document, capture_output=True, check=True, timeout=60)
    return done.stdout


def outcome_of(ours: Verified | Failed, theirs: Verified | Failed) -> str:
    match ours, theirs:
        case Verified(), Verified():
            return BOTH_ACCEPT
        case Failed(), Failed():
            return BOTH_REFUSE
        case Verified(), Failed():
            return "refused by openssl alone"
        case Failed() as failed, _:
            return why_stricter(failed) or "refused by the product alone, without a reason that is listed"
    raise AssertionError


def find_fault(ours: Verified | Failed, theirs: Verified | Failed) -> str:
    """Return what is wrong, or an empty text."""
    match ours, theirs:
        case Verified(), Failed(words=words):
            return f"accepted, and openssl refuses it: {words}"
        case Verified(content=one), Verified(content=other) if one != other:
            return "openssl reads another content"
        case Verified(signer=one), Verified(signer=other) if one != other:
            return "openssl finds another signer"
        case Failed() as failed, Verified() if not why_stricter(failed):
            return f"refused without a listed reason, and openssl accepts it: {failed.reason}: {failed.words}"
    return ""


def why_stricter(failed: Failed) -> str:
    """Return the entry of STRICTER that a refusal belongs to, or an empty text."""
    return next(
        (
            why
            for why, (reason, words) in STRICTER.items()
            if failed.reason is reason and re.search(words, failed.words)
        ),
        "",
    )


_OTHER_FORMS: Final = (
    "version 1 over data|carries revocation lists|has unsigned attributes|more than one (signer|digest algorithm)|"
    "embeds elements that are not X.509|not named by issuer and serial number|announces (no|another) digest algorithm|"
    "algorithm has parameters"
)
#: Why only the product refuses a document: its reason, and an expression for its sentence.
STRICTER: Final[Mapping[str, tuple[Reason, str]]] = {
    "the document is BER, or bytes follow it": (
        Reason.MALFORMED_EVIDENCE,
        # OpenSSL reads certificates under a tag that says primitive. DER does not.
        "^The document (is not a CMS SignedData in DER: |embeds no certificate)",
    ),
    "the signer's certificate is not DER, or has an unknown field": (
        Reason.MALFORMED_EVIDENCE,
        "^The signer's certificate (is not exact DER: |has a field of an unknown form)",
    ),
    "more or larger elements than a bound allows": (Reason.MALFORMED_EVIDENCE, "(more|larger) than [0-9]"),
    "another form than that of IMDS, in fields that no signature covers": (
        Reason.MALFORMED_EVIDENCE,
        _OTHER_FORMS,
    ),
    "several certificates with the signer's name and number, or none": (
        Reason.MALFORMED_EVIDENCE,
        "^The document does not embed exactly one certificate of the signer",
    ),
    "the content type of the signed attributes is not that of the content (RFC 5652 11.1)": (
        Reason.SIGNATURE_INVALID,
        "^The signed attributes describe other content",
    ),
    "a broken digest": (Reason.ALGORITHM_REFUSED, "^(MD2|MD5|SHA-1) is broken"),
    "a key that is not accepted": (Reason.ALGORITHM_REFUSED, "^The signer's (RSA key has|curve|key has a form) "),
    "a signature algorithm of the signer's certificate that is not accepted": (
        Reason.ALGORITHM_REFUSED,
        "^The signer's certificate is signed with ",
    ),
    "a signature algorithm that is unknown or contradicts the digest; openssl goes by key and digest alone": (
        Reason.ALGORITHM_REFUSED,
        "^The (signature algorithm [0-9.]+ is not accepted|document names the digest)",
    ),
    "parameters of a signature that are not accepted": (
        Reason.ALGORITHM_REFUSED,
        "^The (PSS parameters must|signature algorithm has parameters)",
    ),
}
