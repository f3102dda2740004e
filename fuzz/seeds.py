"""Write the seeds of every target to DIRECTORY/TARGET: `python fuzz/seeds.py DIRECTORY`.

`make fuzz-corpus` minimizes them, together with what the fuzzer found, into fuzz/corpus.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from harnesses import request, trust_bundle
from support.bad_input import bad_inputs
from support.documents import sample
from support.real_samples import REAL_SAMPLES
from support.request_mutants import RawRequest
from support.vectors import document_of, load_vectors

from verifier.adapters.trust.files import shipped_directory
from verifier.core.encoding.cms import CmsError, SignedData, read_signed_data
from verifier.core.encoding.der import DerError
from verifier.core.reasons import Refused
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud

_SETTINGS = Path(__file__).parents[1] / "examples"


def documents() -> Iterator[bytes]:
    """Yield the real samples, the vectors, and the refused documents of the suite."""
    yield from (one.der for one in REAL_SAMPLES)
    yield sample("azure-page-2018")
    for vector in load_vectors():
        try:
            yield document_of(vector).raw_der
        except Refused:
            continue


def readable() -> Iterator[SignedData]:
    for document in documents():
        try:
            yield read_signed_data(document)
        except (CmsError, DerError):
            continue


def certificates() -> Iterator[bytes]:
    yield from (certificate for parts in readable() for certificate in parts.certificates)


def contents() -> Iterator[bytes]:
    yield from (parts.content for parts in readable())


def names() -> Iterator[bytes]:
    for cloud in Cloud:
        domain = cloud.domain
        yield f"C{domain}\nD{domain}".encode()
        yield f"Ceastus.{domain}\nDeastus.{domain}\nD*.{domain}\nDexample.com".encode()
    yield b"Cmetadata.azure.com\nDmetadata.azure.us"
    yield b"DMETADATA.azure.com\nDxn--a.metadata.azure.com\nD.metadata.azure.com"
    yield b"C" + b"a" * 63 + b".metadata.azure.com"


def evidence() -> Iterator[bytes]:
    selectors = {"text/plain": (1, 5), "application/json": (2, 4)}
    for vector in load_vectors():
        for selector in selectors.get(vector.post.media_type, (0, 3, 6)):
            yield bytes([selector]) + vector.post.body
    for bad in bad_inputs():
        yield bytes([4]) + bad.body[:2000]
    for fields in ({}, {"vmId": "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90", "policy": "default", "jkt": "A" * 43}):
        yield bytes([9]) + json.dumps(fields).encode()


def settings() -> Iterator[bytes]:
    yield b"VERIFIER_PORT=8081\nVERIFIER_LOG_LEVEL=warning\n\nformat = 1\nclock_skew_seconds = 30\n"
    yield (
        b'format = 1\nhost = "0.0.0.0"\n[policies.gold]\nplanNames = ["gold"]\nanyOf = [{skus = ["a"]}]\n'
        b'[tenants.contoso]\nkeys = ["' + b"a" * 64 + b'"]\npolicy = "gold"\nrate = "10/minute"\n'
    )
    yield b'VERIFIER_TENANTS={"a": {"keys": ["' + b"b" * 64 + b'"]}}\nVERIFIER_CLOUDS=AzurePublicCloud\n\n'
    yield b'VERIFIER_NONCE_STORE=redis://localhost/0\nVERIFIER_ADMIN_KEYS={"x": "' + b"c" * 64 + b'"}\n\n'
    yield b"VERIFIER_TRUST_FEED=https://example.com/feed\nVERIFIER_OTLP_ENDPOINT=http://localhost:4318\n\n"
    yield from (file.read_bytes() for file in sorted(_SETTINGS.rglob("*.toml")))


def trust_bundles() -> Iterator[bytes]:
    root = Certificate.from_pem(min((shipped_directory() / "roots").glob("*.pem")).read_bytes())
    pin = Certificate.from_pem(trust_bundle.second())
    entry = '[[certificates]]\nfile = "{}"\nsha256 = "{}"\nrole = "{}"\nclouds = ["{}"]\nsource = "urn:x"\n'
    cloud = Cloud.PUBLIC
    table = f'[clouds.{cloud}]\ndomain = "{cloud.domain}"\nanchors = ["{trust_bundle.FIRST}"]\n'
    both = entry.format(trust_bundle.FIRST, root.sha256, "root", cloud)
    both += entry.format(trust_bundle.SECOND, pin.sha256, "intermediate", cloud)
    for mode in ("", 'mode = "add"\n', 'mode = "replace"\n'):
        yield f"format = 1\n{mode}{table}{both}".encode()
    times = "activate_at = 2026-01-01T00:00:00Z\nretire_at = 2027-01-01T00:00:00+02:00\n"
    yield f"format = 1\n{table}{both}{times}".encode()
    yield f"format = 1\n{table}{both}".encode() + trust_bundle.SEPARATOR + b"-----BEGIN CERTIFICATE-----\n"


def requests() -> Iterator[bytes]:
    for vector in load_vectors():
        headers = (("Content-Type", vector.post.media_type),)
        posted = RawRequest(method="POST", target="/v1/attestations", headers=headers, body=vector.post.body)
        yield request.write_request(posted)
    for target in ("/healthz", "/readyz", "/openapi.json", "/docs", "/problems/too-large", "/.well-known/jwks.json"):
        yield request.write_request(RawRequest(method="GET", target=target))
    yield request.write_request(RawRequest(method="GET", target="/v1/decisions?limit=2&vmId=x"))
    body = b'{"vmId": "5c1a0b3e-7d42-4f0a-9b57-1f6d2e8c4a90"}'
    json_type = (("Content-Type", "application/json"), ("X-Request-Id", "a"), ("Traceparent", "00-" + "1" * 50))
    yield request.write_request(RawRequest(method="POST", target="/v1/nonces", headers=json_type, body=body))


SEEDS = {
    "envelope": documents,
    "certificate": certificates,
    "names": names,
    "claims": contents,
    "strict_json": contents,
    "evidence": evidence,
    "settings": settings,
    "trust_bundle": trust_bundles,
    "request": requests,
}


def main(directory: Path) -> None:
    for target, seeds in SEEDS.items():
        place = directory / target
        place.mkdir(parents=True, exist_ok=True)
        for seed in seeds():
            (place / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
