"""Move Azure to a new issuing authority while documents of the old one keep coming."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from support import cms, documents
from support.documents import around, der, imds_answer
from support.live_documents import current_document, current_pki
from support.load import repeated
from support.services import Answer, RunningServer

from verifier.emulator import pki


@dataclass(slots=True)
class Rollover:
    """A new issuing authority under the root that is trusted already, and a signer under it."""

    authority: pki.Identity
    signer: pki.Identity

    @classmethod
    def happen(cls) -> "Rollover":
        now = datetime.now(UTC)
        root = current_pki().root
        authority = pki.make_ca(
            issuer=root,
            subject=pki.make_name("Emulator Issuing CA 2"),
            key=documents.spare_key(1),
            validity=around(now),
        )
        signer = pki.make_signer(
            issuer=authority,
            subject=pki.make_name("metadata.azure.com"),
            names=("westus.metadata.azure.com", "metadata.azure.com"),
            key=documents.spare_key(2),
            validity=around(now),
        )
        return cls(authority=authority, signer=signer)

    @property
    def authority_sha256(self) -> str:
        return hashlib.sha256(der(self.authority.certificate)).hexdigest()

    def document(self, nonce: str) -> dict[str, object]:
        """A document of the new signer, with the new authority embedded, as senders may."""
        content = documents.encode(documents.content(nonce=nonce, created_on=datetime.now(UTC)))
        made = cms.signed_data(content, certificate=self.signer.certificate, key=self.signer.key)
        certificates = (*made.certificates, der(self.authority.certificate))
        return imds_answer(
            cms.SignedData(
                digest_algorithms=made.digest_algorithms,
                content=made.content,
                certificates=certificates,
                signer_infos=made.signer_infos,
            ).encode()
        )


@dataclass(slots=True)
class Traffic:
    """Documents of the old signer, one after another, to both replicas, until the drill is over."""

    replicas: tuple[RunningServer, ...]
    answers: list[Answer] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        with repeated([partial(self.attest, replica) for replica in self.replicas], self.faults):
            yield

    def attest(self, replica: RunningServer) -> None:
        document = imds_answer(current_document(replica.issue_nonce()))
        self.answers.append(replica.post_json("/v1/attestations", document))
