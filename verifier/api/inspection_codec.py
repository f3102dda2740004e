"""Convert inspections from types to JSON."""

from collections.abc import Iterator

from verifier.api.inspection_answers import (
    AuthenticJson,
    EmbeddedCertificateJson,
    InspectedLinkJson,
    InspectedNameJson,
    InspectedSignerJson,
    InspectionJson,
    StructureJson,
    StructureNodeJson,
    UnverifiedJson,
)
from verifier.api.json_codec import chain_link_json, checks_json, claims_json, signer_json
from verifier.api.problem_codec import denial_json
from verifier.core.encoding.moments import moment_json
from verifier.core.encoding.structure import Node, Structure
from verifier.core.model import AuthenticContent, ChainLink
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import cloud_of
from verifier.usecases.inspection import Inspection, UnverifiedFindings


def inspection_json(inspection: Inspection) -> InspectionJson:
    authentic, unverified = inspection.authentic, inspection.unverified
    answer: InspectionJson = {
        "verdict": "verified" if inspection.reason is None else "refused",
        "code": inspection.reason,
        "detail": inspection.detail,
        "evaluatedAt": moment_json(inspection.evaluated_at),
        "sha256": inspection.sha256 or None,
        "checks": checks_json(inspection.checks),
        "policies": list(inspection.policies),
        "authentic": None if authentic is None else _authentic_json(authentic),
        "unverified": None if unverified is None else _unverified_json(unverified),
        "structure": None if inspection.structure is None else structure_json(inspection.structure),
    }
    if inspection.denial is not None:
        answer["denial"] = denial_json(inspection.denial)
    return answer


def _authentic_json(content: AuthenticContent) -> AuthenticJson:
    return {
        "cloud": content.cloud,
        "claims": claims_json(content.claims),
        "document": dict(content.document),
        "signer": _signer_json(content.signer),
        "names": list(_names_json(content.signer)),
        "chain": [_link_json(link) for link in content.chain],
        "trustGeneration": content.trust_generation,
    }


def _unverified_json(findings: UnverifiedFindings) -> UnverifiedJson:
    return {
        "cloud": findings.cloud,
        "claims": None if findings.claims is None else claims_json(findings.claims),
        "content": findings.text,
        "signer": _signer_json(findings.signer),
        "names": list(_names_json(findings.signer)),
        "certificates": [_certificate_json(certificate) for certificate in findings.certificates],
    }


def _signer_json(signer: Certificate) -> InspectedSignerJson:
    names = dict.fromkeys(name["value"] for name in _names_json(signer))
    return {**signer_json(signer, list(names)), "notBefore": moment_json(signer.not_before)}


def _names_json(signer: Certificate) -> Iterator[InspectedNameJson]:
    for name in signer.common_names:
        yield {"kind": "commonName", "value": _shown(name), "cloud": cloud_of(name)}
    for name in signer.dns_names:
        yield {"kind": "dNSName", "value": _shown(name), "cloud": cloud_of(name)}


def _shown(name: bytes) -> str:
    return name.decode("ascii", errors="backslashreplace")


def _link_json(link: ChainLink) -> InspectedLinkJson:
    return {**chain_link_json(link), "notBefore": moment_json(link.not_before)}


def _certificate_json(certificate: Certificate) -> EmbeddedCertificateJson:
    return {
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "sha256": certificate.sha256,
        "notBefore": moment_json(certificate.not_before),
        "notAfter": moment_json(certificate.not_after),
    }


def structure_json(structure: Structure) -> StructureJson:
    return {"truncated": structure.is_truncated, "root": _node_json(structure.root)}


def _node_json(node: Node) -> StructureNodeJson:
    answer: StructureNodeJson = {
        "offset": node.offset,
        "headerLength": node.header_length,
        "length": node.length,
        "tag": node.tag,
    }
    if node.name:
        answer["name"] = node.name
    if node.value:
        answer["value"] = node.value
    if node.error:
        answer["error"] = node.error
    if node.children:
        answer["children"] = [_node_json(child) for child in node.children]
    return answer
