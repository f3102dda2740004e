"""Attested data: `GET /metadata/attested/document` (Azure page: Attested data)."""

import base64
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from flask import Response, jsonify, request

from verifier.emulator import cms, documents
from verifier.emulator.disturbances import has_fault
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.faults import FaultKind
from verifier.emulator.rules import Refusal, refuse, refuse_api_version
from verifier.emulator.scenarios import Chain
from verifier.emulator.versions import ATTESTED_INTRODUCED

# The page says 10 digits; the service's OpenAPI description says up to 32 alphanumeric characters.
_NONCE: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)


class AttestedDocuments:
    """Answers the requests for documents of one machine, and keeps the last one, as IMDS caches it. Thread-safe.

    `now` dates the documents, `chain` says who signs them; each is asked anew for each document.
    """

    def __init__(self, *, vm: VirtualMachine, now: Callable[[], datetime], chain: Callable[[], Chain]) -> None:
        self._vm = vm
        self._now = now
        self._chain = chain
        self._lock = threading.Lock()
        self._last: str | None = None

    def answer(self) -> Response | Refusal:
        refusal = refuse_api_version(introduced=ATTESTED_INTRODUCED) or _refuse_nonce()
        if refusal:
            return refusal
        return jsonify(encoding="pkcs7", signature=self._cached() if has_fault(FaultKind.CACHED_NONCE) else self._new())

    def _new(self) -> str:
        # "If no value is provided": an empty value is none.
        signature = self._sign(request.args.get("nonce") or None)
        with self._lock:
            self._last = signature
        return signature

    def _cached(self) -> str:
        with self._lock:
            last = self._last
        return self._sign(None) if last is None else last

    def _sign(self, nonce: str | None) -> str:
        api_version = request.args["api-version"]
        content = documents.make_content(self._vm, now=self._now(), api_version=api_version, nonce=nonce)
        chain = self._chain()
        evidence = cms.signed_data(content, certificate=chain.signer.certificate, key=chain.signer.key)
        embedded = tuple(certificate.public_bytes(Encoding.DER) for certificate in chain.embedded)
        evidence = replace(evidence, certificates=(*evidence.certificates, *embedded))
        return base64.b64encode(evidence.encode()).decode("ascii")


def _refuse_nonce() -> Refusal | None:
    nonce = request.args.get("nonce")
    if nonce and not _NONCE.fullmatch(nonce):
        return refuse(400, "Bad request. nonce must be at most 32 alphanumeric characters")
    return None
