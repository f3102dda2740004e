"""Compare the chain step with x509-limbo: `.venv/bin/python tools/run_limbo.py FILE [SECONDS]`.

FILE holds test cases of https://x509-limbo.com as JSON. The cases of TLS servers that have no CRL and no IP address as
peer name are run. Each one's roots become anchors, its intermediates pins, its leaf the signer, and its peer name
the name that matched; core.chain then decides as of its time. Each case has a process of its own, and a deadline of
20 s, or of SECONDS.

tools/generate_divergences.py lists the intended differences with their reasons. The exit status is 1 if another one is
found, if a listed one is gone, if an exception comes up, or if a case exceeds its deadline.
"""

import json
import multiprocessing
import sys
import warnings
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from generate_divergences import ACCEPT, REFUSE, listed_decisions

from verifier.core.chain import build_chain
from verifier.core.model import Claims, DecodedClaims, NamedContent, SignedContent, UnverifiedClaims
from verifier.core.reasons import ChainRefused
from verifier.core.trust.bundle import Role, TrustBundle, TrustedCertificate, TrustError
from verifier.core.trust.certificates import Certificate, CertificateError
from verifier.core.trust.clouds import Cloud

DEADLINE_SECONDS: Final = 20
EXCEPTION, DEADLINE = "EXCEPTION", "DEADLINE"
_EXPECTED: Final = {"SUCCESS": ACCEPT, "FAILURE": REFUSE}
_NO_CLAIMS: Final = Claims(
    vm_id="limbo",
    subscription_id=None,
    sku=None,
    license_type=None,
    nonce=None,
    plan=None,
    created_on=None,
    expires_on=None,
)

Case = Mapping[str, object]


def main(arguments: list[str]) -> int:
    if len(arguments) not in {1, 2}:
        sys.stderr.write("usage: run_limbo.py FILE [SECONDS]\n")
        return 2
    seconds = float(arguments[1]) if arguments[1:] else DEADLINE_SECONDS
    cases = json.loads(Path(arguments[0]).read_bytes())["testcases"]
    skipped = Counter(reason for reason in map(why_skipped, cases) if reason)
    run = [case for case in cases if not why_skipped(case)]
    listed = listed_decisions()
    faults, differences = [], 0
    for case in run:
        outcome, detail = decide_in_time(case, seconds)
        fault = find_fault(case, outcome, listed)
        differences += outcome != _EXPECTED[case["expected_result"]]
        if fault:
            faults.append(f"{case['id']}: {fault}; {detail}")
    sys.stdout.write(f"{len(run)} of {len(cases)} cases run\n")
    for reason, number in skipped.most_common():
        sys.stdout.write(f"{number:4} skipped: {reason}\n")
    sys.stdout.write(f"{len(run) - differences:4} as expected\n{differences:4} different\n{len(faults):4} faults\n")
    for fault in faults:
        sys.stdout.write(f"\n{fault}\n")
    return 1 if faults else 0


def why_skipped(case: Case) -> str:
    """Return why the chain step has no answer to this case, or an empty text."""
    name = case["expected_peer_name"]
    if case["validation_kind"] != "SERVER":
        return f"a {case['validation_kind']} certificate: the chain step validates TLS servers"
    if "has-crl" in case["features"]:
        return "with a CRL: the chain step consults none"
    if name is not None and name["kind"] != "DNS":
        return f"peer name of kind {name['kind']}: a signer has host names"
    return ""


def find_fault(case: Case, outcome: str, listed: Mapping[str, tuple[str, str]]) -> str:
    """Return what is wrong with the outcome, or an empty text."""
    expected = _EXPECTED[case["expected_result"]]
    there = listed.get(case["id"])
    if outcome not in {ACCEPT, REFUSE}:
        return outcome
    if there is None:
        return "" if outcome == expected else f"{outcome} where x509-limbo says {expected}, and not listed"
    if there != (expected, outcome):
        return f"listed as {' / '.join(there)}, and it is {expected} / {outcome}"
    return "listed, and not a difference" if outcome == expected else ""


def decide_in_time(case: Case, seconds: float) -> tuple[str, str]:
    """Return the outcome and a detail, from another process that is stopped at the deadline."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_send_decision, args=(case, sender))
    process.start()
    sender.close()
    try:
        in_time = receiver.poll(seconds)
        return receiver.recv() if in_time else (DEADLINE, f"no outcome after {seconds:g} s")
    except EOFError:
        return EXCEPTION, "the process ended without an outcome"
    finally:
        process.kill()
        process.join()


def _send_decision(case: Case, sender: Connection) -> None:
    warnings.simplefilter("ignore")  # cryptography warns of certificates that it will refuse one day
    try:
        sender.send(decide(case))
    except BaseException as error:  # noqa: BLE001 - a Rust panic is no Exception
        sender.send((EXCEPTION, f"{type(error).__name__}: {error}"))


def decide(case: Case) -> tuple[str, str]:
    """Build the case's chain."""
    moment = case["validation_time"]
    now = datetime.fromisoformat(moment) if moment else datetime.now(UTC)
    name = case["expected_peer_name"]
    try:
        bundle = TrustBundle.of(_trusted(case))
        signer = Certificate.from_pem(case["peer_certificate"].encode())
        content = build_chain(_claims(signer, name and name["value"]), now=now, bundle=bundle)
    except (ChainRefused, CertificateError, TrustError) as refusal:
        return REFUSE, str(refusal)
    return ACCEPT, " <- ".join(link.subject for link in content.chain)


def _trusted(case: Case) -> tuple[TrustedCertificate, ...]:
    """Return the anchors and pins, without the certificates that a trust bundle refuses to hold."""
    entries = {}
    listed = [(pem, Role.ROOT) for pem in case["trusted_certs"]]
    listed += [(pem, Role.INTERMEDIATE) for pem in case["untrusted_intermediates"]]
    for pem, role in listed:
        try:
            entry = _entry(pem, role)
        except (CertificateError, TrustError):
            continue
        entries.setdefault(entry.certificate.sha256, entry)
    return tuple(entries.values())


def _entry(pem: str, role: Role) -> TrustedCertificate:
    certificate = Certificate.from_pem(pem.encode())
    return TrustedCertificate(
        certificate=certificate, role=role, clouds=frozenset({Cloud.PUBLIC}), source="https://x509-limbo.com"
    )


def _claims(signer: Certificate, server_name: str | None) -> UnverifiedClaims:
    """Return the claims of a document as if this signer had signed it and been found to have this name."""
    signed = SignedContent(sha256="", content=b"", signer=signer, unverified_candidates=())
    named = NamedContent(signed=signed, cloud=Cloud.PUBLIC, names=(), server_name=server_name)
    return UnverifiedClaims(decoded=DecodedClaims(named=named, claims=_NO_CLAIMS, document={}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
