"""Test the trust routes over HTTP, with a real registry."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.applications import make_application
from support.documents import NOW, der, shared_pki
from support.feeds import entry, published
from support.problems import read_problem
from support.trust_operations import (
    Operations,
    make_operations,
    new_authority,
    pem,
    read,
    renewed_authority,
    stranger,
)
from support.tuf_feeds import Feed
from werkzeug.test import TestResponse

from verifier.adapters.trust.published import write_bundle
from verifier.api.authentication import Administrators, Callers
from verifier.api.trust_routes import create_trust_blueprint
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki
from verifier.ports.stores import StoreUnavailable

KEY = "k3y-of-alice"
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
UNKNOWN = "0" * 64
PATHS = [
    ("GET", "/v1/trust"),
    ("POST", f"/v1/trust/discovered/{UNKNOWN}/approve"),
    ("POST", f"/v1/trust/discovered/{UNKNOWN}/reject"),
    ("POST", "/v1/trust/feed/1/approve"),
    ("POST", "/v1/trust/feed/1/reject"),
    ("POST", "/v1/trust/pins"),
    ("DELETE", f"/v1/trust/pins/{UNKNOWN}"),
    ("PUT", "/v1/trust/denied/1234"),
    ("DELETE", "/v1/trust/denied/1234"),
]


@pytest.fixture
def operations(tmp_path: Path) -> Operations:
    return make_operations(tmp_path)


@pytest.fixture
def client(operations: Operations, tmp_path: Path) -> FlaskClient:
    administrators = Administrators(key_hashes={"alice": hashlib.sha256(KEY.encode()).hexdigest()})
    application = make_application(tmp_path)
    application.flask.register_blueprint(
        create_trust_blueprint(
            operations.administration,
            operations.feed,
            lambda: Callers(administrators=administrators),
            operations.clock,
            maximum_body_bytes=MAX_EVIDENCE_BYTES,
        )
    )
    return application.client


def send(client: FlaskClient, method: str, path: str, body: object = None) -> TestResponse:
    return client.open(path, method=method, headers=AUTHORIZED, json=body)


def stands(response: TestResponse) -> Any:  # noqa: ANN401 - JSON, looked into by the tests
    assert response.status_code == 200, response.text
    return json.loads(response.data)


def refused(response: TestResponse) -> dict[str, object]:
    return read_problem(response.status_code, dict(response.headers), response.data)


def cloud(shown: Any, name: Cloud = Cloud.PUBLIC) -> Any:  # noqa: ANN401 - as above
    [found] = [one for one in shown["clouds"] if one["name"] == name]
    return found


def pins(shown: Any, name: Cloud = Cloud.PUBLIC) -> dict[str, Any]:  # noqa: ANN401 - as above
    return {pin["sha256"]: pin for pin in cloud(shown, name)["pins"]}


def sha1_of(authority: pki.Identity) -> str:
    return hashlib.sha1(der(authority.certificate), usedforsecurity=False).hexdigest().upper()


# --- Authentication


@pytest.mark.parametrize(("method", "path"), PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "")],
        [("Authorization", "Bearer ")],
        [("Authorization", "Bearer wrong")],
        [("Authorization", f"Basic {KEY}")],
        [("Authorization", f"Bearer {KEY}"), ("Authorization", f"Bearer {KEY}")],
        [("Authorization", "Bearer " + "a" * 100_000)],
        [("X-Api-Key", KEY)],
        [("Cookie", f"key={KEY}")],
    ],
    ids=["none", "empty", "empty-key", "wrong", "basic", "twice", "huge", "other-header", "cookie"],
)
def test_every_path_requires_an_admin_key(
    client: FlaskClient, operations: Operations, method: str, path: str, headers: list[tuple[str, str]]
) -> None:
    response = client.open(path, method=method, headers=headers)

    assert refused(response)["code"] == "unauthenticated"
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert not operations.events.changes


@pytest.mark.parametrize("name", ["key", "access_token", "authorization"])
def test_key_in_the_query_does_not_authenticate(client: FlaskClient, name: str) -> None:
    assert client.get(f"/v1/trust?{name}={KEY}").status_code == 401


def test_query_string_is_refused(client: FlaskClient) -> None:
    assert refused(client.get("/v1/trust?at=now", headers=AUTHORIZED))["code"] == "malformed-request"


def test_scheme_may_be_lower_case(client: FlaskClient) -> None:
    assert client.get("/v1/trust", headers={"Authorization": f"bearer {KEY}"}).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/trust/",
        "//v1/trust",
        "/v1//trust",
        "/V1/trust",
        "/v1/trust/../trust",
        "/v1/nonces/../trust",
        "/v1/trust%2f",
        "/v1/trust/pins/%2e%2e/denied",
        "/v1/trust/denied/12/34",
    ],
)
def test_other_spellings_of_a_path_do_not_bypass_authentication(client: FlaskClient, path: str) -> None:
    response = client.get(path)

    # Werkzeug's client resolves dots like browsers, and the resolved path needs the key too.
    assert response.status_code in {401, 404, 405}


# --- Show trust


def test_shows_the_clouds_with_their_certificates_and_horizons(client: FlaskClient, operations: Operations) -> None:
    shown = stands(send(client, "GET", "/v1/trust"))

    public = cloud(shown)
    issuing_ca = read(shared_pki().issuing_ca)
    assert public["domain"] == "metadata.azure.com"
    assert public["horizon"] == f"{issuing_ca.not_after:%Y-%m-%dT%H:%M:%SZ}"
    [anchor] = public["anchors"]
    assert anchor["sha256"] == read(shared_pki().root).sha256
    [pin] = public["pins"]
    assert pin["sha256"] == issuing_ca.sha256
    assert pin["subject"] == issuing_ca.subject
    assert (pin["state"], pin["origin"], pin["chainable"], pin["denied"]) == ("active", "listed", True, False)
    assert (pin["activateAt"], pin["retireAt"]) == (None, None)
    assert shown["generation"] == operations.administration.bundle().generation
    assert shown["discovered"] == shown["denied"] == shown["audit"] == shown["rejected"] == []


def test_shows_a_discovered_issuer(client: FlaskClient, operations: Operations) -> None:
    unresolved = operations.discover(issuer="CN=Stranger", key_identifier="0a0b")

    [shown] = stands(send(client, "GET", "/v1/trust"))["discovered"]

    assert shown == {
        "id": unresolved.id,
        "cloud": "AzurePublicCloud",
        "issuer": "CN=Stranger",
        "authorityKeyIdentifier": "0a0b",
        "issuerUrls": list(unresolved.issuer_urls),
        "firstSeen": "2026-11-23T08:00:00Z",
        "lastSeen": "2026-11-23T08:00:00Z",
        "documents": 1,
        "sampleSigner": "5a" * 32,
        "reviewStatus": "unresolved",
        "authorities": [],
    }


def test_shows_the_sha1_in_the_form_of_azures_page(client: FlaskClient, operations: Operations) -> None:
    operations.discover(new_authority())

    shown = stands(send(client, "GET", "/v1/trust"))

    [anchor], [pin] = cloud(shown)["anchors"], cloud(shown)["pins"]
    [authority] = shown["discovered"][0]["authorities"]
    assert anchor["sha1"] == sha1_of(shared_pki().root)
    assert pin["sha1"] == sha1_of(shared_pki().issuing_ca)
    assert authority["sha1"] == sha1_of(new_authority())


def test_discovered_issuer_that_is_already_pinned_needs_no_approval(
    client: FlaskClient, operations: Operations
) -> None:
    authority = read(new_authority())
    operations.discover(issuer=authority.subject, key_identifier=(authority.subject_key_identifier or b"").hex())

    shown = stands(
        send(client, "POST", "/v1/trust/pins", {"certificate": pem(new_authority()), "clouds": ["AzurePublicCloud"]})
    )

    assert [issuer["reviewStatus"] for issuer in shown["discovered"]] == ["pinned"]


def test_unavailable_store_is_503(client: FlaskClient, operations: Operations, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise StoreUnavailable("away")

    monkeypatch.setattr(type(operations.registry), "decisions", fail)

    response = send(client, "GET", "/v1/trust")

    assert response.status_code == 503
    assert refused(response)["code"] == "store-unavailable"


# --- Discovered issuers


def test_approval_pins_the_authority_and_its_issuers(client: FlaskClient, operations: Operations) -> None:
    above, below = new_authority("New Root's CA"), new_authority("New CA", under="New Root's CA")
    operations.discover(below, above)

    shown = stands(send(client, "POST", f"/v1/trust/discovered/{read(below).sha256}/approve"))

    for authority in (above, below):
        pin = pins(shown)[read(authority).sha256]
        assert (pin["origin"], pin["chainable"]) == ("approved", True)
        assert read(authority).sha256 not in pins(shown, Cloud.US_GOVERNMENT)
    [issuer] = shown["discovered"]
    assert issuer["reviewStatus"] == "pinned"
    [event] = shown["audit"]
    assert (event["by"], event["what"], event["subject"]) == ("alice", "approve", read(below).sha256)
    assert "undecided" in event["before"]
    assert "pinned for AzurePublicCloud by alice" in event["after"]


def test_approval_applies_to_every_cloud_of_the_issuer(client: FlaskClient, operations: Operations) -> None:
    operations.discover(new_authority())
    operations.discover(new_authority(), cloud=Cloud.US_GOVERNMENT)

    shown = stands(send(client, "POST", f"/v1/trust/discovered/{read(new_authority()).sha256}/approve"))

    assert read(new_authority()).sha256 in pins(shown, Cloud.PUBLIC)
    assert read(new_authority()).sha256 in pins(shown, Cloud.US_GOVERNMENT)


def test_approval_in_one_cloud_keeps_the_pins_of_another(client: FlaskClient, operations: Operations) -> None:
    above = new_authority("Shared CA")
    first, second = new_authority("First", under="Shared CA"), new_authority("Second", under="Shared CA")
    operations.discover(first, above)
    send(client, "POST", f"/v1/trust/discovered/{read(first).sha256}/approve")
    operations.discover(second, above, cloud=Cloud.US_GOVERNMENT)

    shown = stands(send(client, "POST", f"/v1/trust/discovered/{read(second).sha256}/approve"))

    assert pins(shown)[read(first).sha256]["chainable"]
    assert pins(shown, Cloud.US_GOVERNMENT)[read(second).sha256]["chainable"]


def test_fingerprint_may_have_the_form_of_openssl(client: FlaskClient, operations: Operations) -> None:
    operations.discover(new_authority())
    sha256 = read(new_authority()).sha256.upper()
    spelled = ":".join(sha256[start : start + 2] for start in range(0, 64, 2))

    assert send(client, "POST", f"/v1/trust/discovered/{spelled}/approve").status_code == 200


def test_unknown_authority_cannot_be_approved(client: FlaskClient, operations: Operations) -> None:
    response = send(client, "POST", f"/v1/trust/discovered/{UNKNOWN}/approve")

    assert response.status_code == 404
    assert refused(response)["code"] == "not-found"
    assert not operations.events.changes


def test_rejection_keeps_an_approval(client: FlaskClient, operations: Operations) -> None:
    operations.discover(new_authority())
    sha256 = read(new_authority()).sha256
    send(client, "POST", f"/v1/trust/discovered/{sha256}/approve")

    shown = stands(send(client, "POST", f"/v1/trust/discovered/{sha256}/reject"))

    assert sha256 in pins(shown)
    assert shown["rejected"] == [rejection(read(new_authority()))]
    assert [issuer["reviewStatus"] for issuer in shown["discovered"]] == ["pinned"]
    assert [event["what"] for event in shown["audit"]] == ["reject", "approve"]


def test_rejection_covers_all_certificates_of_the_ca(client: FlaskClient, operations: Operations) -> None:
    operations.discover(renewed_authority(), cloud=Cloud.US_GOVERNMENT)
    operations.discover(new_authority(), seen_at=NOW + timedelta(seconds=1))
    first, second = read(new_authority()), read(renewed_authority())

    shown = stands(send(client, "POST", f"/v1/trust/discovered/{first.sha256}/reject"))

    assert shown["rejected"] == [rejection(first, second)]
    assert [issuer["reviewStatus"] for issuer in shown["discovered"]] == ["rejected", "rejected"]
    shown = stands(send(client, "POST", f"/v1/trust/discovered/{second.sha256}/approve"))
    assert shown["rejected"] == []
    assert {issuer["cloud"]: issuer["reviewStatus"] for issuer in shown["discovered"]} == {
        "AzurePublicCloud": "approvable",
        "AzureUSGovernmentCloud": "pinned",
    }


def test_unknown_authority_cannot_be_rejected(client: FlaskClient) -> None:
    response = send(client, "POST", f"/v1/trust/discovered/{UNKNOWN}/reject")

    assert response.status_code == 404
    assert refused(response)["code"] == "not-found"


def rejection(*certificates: Certificate) -> dict[str, object]:
    return {
        "subject": certificates[0].subject,
        "spkiSha256": certificates[0].spki_sha256,
        "certificates": [{"sha256": one.sha256, "subject": one.subject} for one in certificates],
    }


def test_shows_genuine_documents_that_are_refused_for_their_form(client: FlaskClient, operations: Operations) -> None:
    document = NonconformingDocument(
        issuer="CN=Pinned CA",
        pin_sha256="aa" * 32,
        clouds=frozenset({Cloud.US_GOVERNMENT, Cloud.PUBLIC}),
        signer_sha256="bb" * 32,
        document_sha256="cc" * 32,
        detail="The certificate has 300 names.",
        seen_at=NOW,
    )
    for _ in range(2):
        operations.registry.record_nonconforming(document)

    assert stands(send(client, "GET", "/v1/trust"))["nonconforming"] == [
        {
            "issuer": "CN=Pinned CA",
            "pinSha256": "aa" * 32,
            "clouds": ["AzurePublicCloud", "AzureUSGovernmentCloud"],
            "detail": "The certificate has 300 names.",
            "firstSeen": "2026-11-23T08:00:00Z",
            "lastSeen": "2026-11-23T08:00:00Z",
            "documents": 2,
            "sampleSigner": "bb" * 32,
            "sampleDocument": "cc" * 32,
        }
    ]


@pytest.mark.parametrize("sha256", ["zz" * 32, "0" * 63, "0" * 65, "latest", "%00", "0" * 10_000])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/trust/discovered/{}/approve"),
        ("POST", "/v1/trust/discovered/{}/reject"),
        ("DELETE", "/v1/trust/pins/{}"),
    ],
)
def test_invalid_sha256_is_refused(client: FlaskClient, method: str, path: str, sha256: str) -> None:
    assert refused(send(client, method, path.format(sha256)))["code"] == "malformed-request"


@pytest.mark.parametrize(("method", "path"), [path for path in PATHS if path[1] != "/v1/trust/pins"])
def test_unexpected_body_is_refused(client: FlaskClient, method: str, path: str) -> None:
    assert refused(send(client, method, path, {"force": True}))["code"] == "malformed-request"


# --- Pins


def test_pin_is_in_force_until_it_is_removed(client: FlaskClient) -> None:
    body = {"certificate": pem(new_authority()), "clouds": ["AzurePublicCloud"], "note": "from the CA's page"}
    sha256 = read(new_authority()).sha256

    pinned = pins(stands(send(client, "POST", "/v1/trust/pins", body)))[sha256]
    unpinned = stands(send(client, "DELETE", f"/v1/trust/pins/{sha256}"))

    assert (pinned["origin"], pinned["note"]) == ("approved", "from the CA's page")
    assert "alice" in pinned["source"]
    assert sha256 not in pins(unpinned)
    assert refused(send(client, "DELETE", f"/v1/trust/pins/{sha256}"))["code"] == "not-found"


def test_pin_of_the_manifest_cannot_be_removed(client: FlaskClient) -> None:
    listed = read(shared_pki().issuing_ca).sha256

    assert refused(send(client, "DELETE", f"/v1/trust/pins/{listed}"))["code"] == "not-found"


@pytest.mark.parametrize(
    ("authority", "reason"),
    [
        ("root", "add a root to the trust manifest"),
        ("signer", "n intermediate authority can be pinned"),
        ("stranger", "o trusted authority of AzurePublicCloud issued it"),
    ],
)
def test_unfit_pin_is_refused_with_the_reason(
    client: FlaskClient, operations: Operations, authority: str, reason: str
) -> None:
    made = shared_pki()
    certificate = {"root": made.root, "signer": made.signer, "stranger": stranger()}[authority]
    body = {"certificate": pem(certificate), "clouds": ["AzurePublicCloud"]}

    problem = refused(send(client, "POST", "/v1/trust/pins", body))

    assert (problem["status"], problem["code"]) == (400, "malformed-request")
    assert reason in str(problem["detail"])
    assert not operations.events.changes


def test_a_pin_for_a_cloud_whose_anchors_did_not_issue_it_is_refused(client: FlaskClient) -> None:
    body = {"certificate": pem(new_authority()), "clouds": ["AzurePublicCloud", "AzureChinaCloud"]}

    problem = refused(send(client, "POST", "/v1/trust/pins", body))

    assert "AzureChinaCloud" in str(problem["detail"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        {},
        {"certificate": "PEM"},
        {"clouds": ["AzurePublicCloud"]},
        {"certificate": "PEM", "clouds": []},
        {"certificate": "PEM", "clouds": ["Azure"]},
        {"certificate": "PEM", "clouds": "AzurePublicCloud"},
        {"certificate": "PEM", "clouds": ["AzurePublicCloud"], "force": True},
        {"certificate": "PEM", "clouds": ["AzurePublicCloud"], "note": "two\nlines"},
        {"certificate": "PEM", "clouds": ["AzurePublicCloud"], "note": "\u001b[2J"},
        {"certificate": "PEM", "clouds": ["AzurePublicCloud"], "note": "n" * 501},
        {"certificate": 7, "clouds": ["AzurePublicCloud"]},
        {"certificate": "", "clouds": ["AzurePublicCloud"]},
        {"certificate": "MIIB", "clouds": ["AzurePublicCloud"]},
        {"certificate": "PEMPEM", "clouds": ["AzurePublicCloud"]},
        {"certificate": "PEM-----BEGIN PRIVATE KEY-----", "clouds": ["AzurePublicCloud"]},
    ],
    ids=repr,
)
def test_invalid_pin_request_is_refused(client: FlaskClient, operations: Operations, body: object) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).replace("PEM", json.dumps(pem(new_authority()))[1:-1])

    response = client.post("/v1/trust/pins", data=raw, headers=AUTHORIZED, content_type="application/json")

    assert refused(response)["code"] == "malformed-request"
    assert not operations.events.changes


def test_a_pin_in_another_media_type_is_refused(client: FlaskClient) -> None:
    response = client.post(
        "/v1/trust/pins", data=pem(new_authority()), headers=AUTHORIZED, content_type="application/x-pem-file"
    )

    assert refused(response)["code"] == "unsupported-media-type"


def test_a_body_that_is_too_large_is_refused(client: FlaskClient) -> None:
    body = {"certificate": "a" * MAX_EVIDENCE_BYTES, "clouds": ["AzurePublicCloud"]}

    assert refused(send(client, "POST", "/v1/trust/pins", body))["code"] == "too-large"


# --- Denials


def test_denied_key_builds_no_chain_until_the_denial_is_removed(client: FlaskClient) -> None:
    issuing_ca = read(shared_pki().issuing_ca)
    path = f"/v1/trust/denied/{issuing_ca.spki_sha256}"

    denied = stands(send(client, "PUT", path))
    allowed = stands(send(client, "DELETE", path))

    pin = pins(denied)[issuing_ca.sha256]
    assert (pin["denied"], pin["chainable"]) == (True, False)
    assert cloud(denied)["horizon"] is None
    assert denied["denied"] == [
        {
            "kind": "spki",
            "value": issuing_ca.spki_sha256,
            "certificates": [{"sha256": issuing_ca.sha256, "subject": issuing_ca.subject}],
        }
    ]
    assert allowed["denied"] == []
    assert pins(allowed)[issuing_ca.sha256]["chainable"]
    assert denied["generation"] != allowed["generation"]


def test_serial_number_of_an_unknown_certificate_can_be_denied(client: FlaskClient) -> None:
    shown = stands(send(client, "PUT", "/v1/trust/denied/0x00:AB:CD"))

    assert shown["denied"] == [{"kind": "serial", "value": "abcd", "certificates": []}]


def test_missing_denial_cannot_be_removed(client: FlaskClient) -> None:
    assert refused(send(client, "DELETE", "/v1/trust/denied/1234"))["code"] == "not-found"


def test_fingerprint_of_a_certificate_is_refused_as_a_denial(client: FlaskClient, operations: Operations) -> None:
    issuing_ca = read(shared_pki().issuing_ca)

    problem = refused(send(client, "PUT", f"/v1/trust/denied/{issuing_ca.sha256}"))

    assert issuing_ca.spki_sha256 in str(problem["detail"])
    assert not operations.events.changes


@pytest.mark.parametrize("what", ["0", "00", "xyz", "-1", "1" * 63, "1" * 43, "1" * 65, "0x", "1 2"])
def test_invalid_key_or_serial_number_cannot_be_denied(client: FlaskClient, operations: Operations, what: str) -> None:
    assert refused(send(client, "PUT", f"/v1/trust/denied/{what}"))["code"] == "malformed-request"
    assert not operations.events.changes


def test_audit_events_name_the_administrator(client: FlaskClient, operations: Operations) -> None:
    send(client, "PUT", "/v1/trust/denied/1234")

    assert [(event.by, event.what, event.before, event.after) for event in operations.events.changes] == [
        ("alice", "deny", "not denied", "denied serial:1234")
    ]


# --- The trust feed


def offer(operations: Operations, directory: Path, *, version: int = 1) -> None:
    """Publish a bundle with a new pin in a real feed, and look at it."""
    operations.clock.moment = datetime.now(UTC)
    feed = Feed.make(directory / f"feed-{version}", keys=1, threshold=1)
    bundle = published(entry(new_authority()), version=version, at=operations.clock.now())
    feed.publish(write_bundle(bundle), by=(1,))
    status = operations.open_feed(str(feed.public), feed.public / "1.root.json").look()
    assert status.offer is not None, status.problem


def test_approval_puts_the_offered_version_in_force(
    client: FlaskClient, operations: Operations, tmp_path: Path
) -> None:
    offer(operations, tmp_path)
    assert stands(send(client, "GET", "/v1/trust"))["feed"]["offer"]["version"] == 1

    shown = stands(send(client, "POST", "/v1/trust/feed/1/approve"))

    feed = shown["feed"]
    assert (feed["inForce"]["version"], feed["offer"], feed["rejected"]) == (1, None, None)
    assert pins(shown)[read(new_authority()).sha256]["origin"] == "published"
    [event] = shown["audit"]
    assert (event["by"], event["what"], event["subject"]) == ("alice", "follow feed", "version 1")


def test_rejected_version_is_not_offered_until_it_is_approved(
    client: FlaskClient, operations: Operations, tmp_path: Path
) -> None:
    offer(operations, tmp_path)

    feed = stands(send(client, "POST", "/v1/trust/feed/1/reject"))["feed"]

    assert (feed["inForce"], feed["offer"]) == (None, None)
    assert (feed["rejected"]["version"], feed["rejected"]["by"]) == (1, "alice")
    shown = stands(send(client, "POST", "/v1/trust/feed/1/reject"))
    assert [event["what"] for event in shown["audit"]] == ["reject feed", "reject feed"]
    assert shown["audit"][1]["before"] == "version 1 undecided"
    approved = stands(send(client, "POST", "/v1/trust/feed/1/approve"))
    assert (approved["feed"]["inForce"]["version"], approved["feed"]["rejected"]) == (1, None)
    assert refused(send(client, "POST", "/v1/trust/feed/1/reject"))["code"] == "not-found"


@pytest.mark.parametrize("action", ["approve", "reject"])
def test_version_that_is_not_offered_is_404(
    client: FlaskClient, operations: Operations, tmp_path: Path, action: str
) -> None:
    assert refused(send(client, "POST", f"/v1/trust/feed/1/{action}"))["code"] == "not-found"
    offer(operations, tmp_path)

    problem = refused(send(client, "POST", f"/v1/trust/feed/2/{action}"))

    assert problem["code"] == "not-found"
    assert problem["detail"] == "The service knows no offer of version 2: run `trust update`, which looks at the feed."
    assert not operations.events.changes


@pytest.mark.parametrize("version", ["0", "-1", "+1", "1.0", "x", "\N{ARABIC-INDIC DIGIT ONE}", "1" * 17])
@pytest.mark.parametrize("action", ["approve", "reject"])
def test_version_must_be_a_number(client: FlaskClient, version: str, action: str) -> None:
    problem = refused(send(client, "POST", f"/v1/trust/feed/{version}/{action}"))

    assert (problem["code"], problem["detail"]) == (
        "malformed-request",
        "Expected the version of a bundle: a number from 1.",
    )


def test_expired_offer_cannot_be_approved(client: FlaskClient, operations: Operations, tmp_path: Path) -> None:
    offer(operations, tmp_path)
    operations.clock.advance(timedelta(days=31))

    problem = refused(send(client, "POST", "/v1/trust/feed/1/approve"))

    assert (problem["code"], problem["detail"]) == ("malformed-request", "Version 1 has expired.")
