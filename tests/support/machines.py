"""A machine of a customer: a caller with a source address of its own on loopback, an API key and a VM."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from urllib.parse import urlsplit

from support.documents import VM, imds_answer
from support.live_documents import current_document
from support.openapi_checks import check_answer
from support.services import Answer, Client

from verifier.emulator.documents import VirtualMachine

_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A caller of `service`. Each request has a connection of its own. `headers` are further headers of each one."""

    service: Client
    address: str
    key: str = "agent"
    vm: VirtualMachine = VM
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        fields: Mapping[str, object] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request. Headers in `headers` replace those of the machine."""
        parts = urlsplit(self.service.url)
        connection = HTTPConnection(
            parts.hostname or "", parts.port, timeout=_SECONDS, source_address=(self.address, 0)
        )
        authorization = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        body = {} if fields is None else {"Content-Type": "application/json"}
        try:
            connection.request(
                method,
                path,
                None if fields is None else json.dumps(fields),
                {**authorization, **body, **self.headers, **(headers or {})},
            )
            response = connection.getresponse()
            answer = Answer(status=response.status, headers=dict(response.getheaders()), body=response.read())
        finally:
            connection.close()
        if self.service.described:
            check_answer(method, path, answer.status, answer.headers, answer.body)
        return answer

    def nonce(self, **binding: str) -> str:
        answer = self.ask("POST", "/v1/nonces", binding)
        assert answer.status == 201, answer.body
        return str(answer.json["nonce"])

    def evidence(self, nonce: str) -> dict[str, object]:
        """Return the answer of the machine's IMDS."""
        return imds_answer(current_document(nonce, vm=self.vm))

    def post(self, nonce: str, **asked: str) -> Answer:
        return self.ask("POST", "/v1/attestations", {**self.evidence(nonce), **asked})

    def attest(self) -> Answer:
        return self.post(self.nonce())
