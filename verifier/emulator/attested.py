"""Attested data: `GET /metadata/attested/document` (Azure page: Attested data)."""

import base64
import re
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding
from flask import Response, jsonify, request

from verifier.emulator import cms, documents
from verifier.emulator.controls import Controls
from verifier.emulator.documents import VirtualMachine
from verifier.emulator.fault_injection import has_fault
from verifier.emulator.faults import FaultKind
from verifier.emulator.rules import Refusal, refuse, refuse_api_version
from verifier.emulator.versions import ATTESTED_INTRODUCED

# The page says 10 digits; the service's OpenAPI description says up to 32 alphanumeric characters.
_NONCE: Final = re.compile(r"[0-9A-Za-z]{1,32}", re.ASCII)


class AttestedDocuments:
    """The attested documents of one machine. Keeps the last one, because IMDS caches it. Thread-safe.

    `controls` gives the time and the signer of each document.
    """

    def __init__(self, *, vm: VirtualMachine, controls: Controls) -> None:
        self._vm = vm
        self._controls = controls
        self._last: str | None = None

    def answer(self) -> Response | Refusal:
        refusal = refuse_api_version(introduced=ATTESTED_INTRODUCED)
        if refusal:
            return refusal
        # "If no value is provided": an empty value counts as none.
        nonce = request.args.get("nonce") or None
        if nonce and not _NONCE.fullmatch(nonce):
            return refuse(400, "Bad request. nonce must be at most 32 alphanumeric characters")
        if has_fault(FaultKind.CACHED_NONCE):
            return jsonify(encoding="pkcs7", signature=self._last or self._sign(None))
        self._last = signature = self._sign(nonce)
        return jsonify(encoding="pkcs7", signature=signature)

    def _sign(self, nonce: str | None) -> str:
        api_version = request.args["api-version"]
        content = documents.make_content(self._vm, now=self._controls.now(), api_version=api_version, nonce=nonce)
        chain = self._controls.chain()
        evidence = cms.signed_data(content, certificate=chain.signer.certificate, key=chain.signer.key)
        embedded = tuple(certificate.public_bytes(Encoding.DER) for certificate in chain.embedded)
        evidence = replace(evidence, certificates=(*evidence.certificates, *embedded))
        return base64.b64encode(evidence.encode()).decode("ascii")
