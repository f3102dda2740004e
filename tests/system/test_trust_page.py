"""The page of trust in a real browser: an operator sees what needs a decision, and approves or rejects it."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.sync_api import Browser, Locator, Page, expect
from support.documents import around, der
from support.feeds import anchor, entry, published
from support.live_documents import current_pki
from support.processes import await_that
from support.rollovers import Rollover
from support.services import RunningServer, running_service
from support.tenant_keys import hash_of
from support.tuf_feeds import Feed
from support.watched_pages import Watched

from verifier.adapters.sqlite.trust_registry import SqliteTrustRegistry
from verifier.adapters.trust.published import write_bundle
from verifier.core.discovery import IssuerObservation
from verifier.core.nonconforming import NonconformingDocument
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki
from verifier.emulator.clouds import AzureCloud
from verifier.emulator.trust_directory import TrustedCertificate, write_trust_directory

ADMIN, BACKEND = "admin-key-of-the-page-tests", "backend-key-of-the-page-tests"
AUTHORIZED = {"Authorization": f"Bearer {ADMIN}"}
DAY = timedelta(days=1)
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>\N{RIGHT-TO-LEFT OVERRIDE}dlog' + "x" * 900


@cache
def feed_root(name: str = "Feed Root") -> pki.Identity:
    key = pki.make_ec_key(ec.SECP256R1())
    return pki.make_root(subject=pki.make_name(name), key=key, validity=around(datetime.now(UTC), days=9000))


@cache
def authority(name: str, *, days: int = 900, ago: int = 0) -> pki.Identity:
    """Return an issuing CA under the root that is trusted, valid for `days` around the day `ago` days before now."""
    return pki.make_ca(
        issuer=current_pki().root,
        subject=pki.make_name(name),
        key=pki.make_ec_key(ec.SECP256R1()),
        validity=around(datetime.now(UTC) - ago * DAY, days=days),
    )


def write_trust(directory: Path) -> None:
    """Trust the current PKI, a root of decades, and one certificate in each other state."""
    made, now = current_pki(), datetime.now(UTC)
    pins = {
        "issuing-ca": made.issuing_ca,
        "staged": authority("Staged CA"),
        "retired": authority("Retired CA", ago=400),
        "expiring": authority("Ending CA", days=20),
        "expired": authority("Old CA", days=100, ago=200),
        "ancient": authority("Ancient CA", days=100, ago=1500),
    }
    roots = {"root": made.root, "lasting": feed_root("Lasting Root")}
    certificates = (
        *(TrustedCertificate(name=name, role="root", certificate=one.certificate) for name, one in roots.items()),
        *(
            TrustedCertificate(name=name, role="intermediate", certificate=one.certificate)
            for name, one in pins.items()
        ),
    )
    write_trust_directory(directory, cloud=AzureCloud.PUBLIC, certificates=certificates)
    manifest = directory / "manifest.toml"
    text = manifest.read_text("utf-8")
    for name, line in (
        ("staged", f"activate_at = {now + 90 * DAY:%Y-%m-%dT%H:%M:%SZ}"),
        ("retired", f"retire_at = {now - 30 * DAY:%Y-%m-%dT%H:%M:%SZ}"),
    ):
        text = text.replace(f'file = "intermediates/{name}.pem"', f'file = "intermediates/{name}.pem"\n{line}')
    manifest.write_text(text, "utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    server: RunningServer
    feed: Feed
    rollover: Rollover
    directory: Path

    @property
    def registry(self) -> SqliteTrustRegistry:
        return SqliteTrustRegistry(self.directory / "nonces-trust.sqlite3")

    def offer(self, version: int) -> None:
        """Publish a bundle with a new pin and a new anchor, and wait until the service offers it."""
        now = datetime.now(UTC)
        pins = [entry(authority(f"Feed CA {number}")) for number in range(1, version + 1)]
        bundle = published(*pins, anchor(feed_root()), version=version, at=now)
        self.feed.publish(write_bundle(bundle))
        await_that(lambda: self.offered == version)

    @property
    def offered(self) -> int:
        feed = self.asked("GET", "/v1/trust")["feed"]
        return feed["offer"]["version"] if feed["offer"] else 0

    def asked(self, method: str, path: str) -> Any:  # noqa: ANN401 - JSON, looked into by the tests
        answer = self.server.request(method, path, headers=AUTHORIZED)
        assert answer.status == 200, answer.body
        return answer.json


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    directory = tmp_path_factory.mktemp("trust-page")
    write_trust(directory / "trust")
    feed = Feed.make(directory / "feed")
    (directory / "root.json").write_bytes(feed.first_root)
    with running_service(
        nonce_store=f"sqlite://{directory}/nonces.sqlite3",
        trust_dir=directory / "trust",
        workers=1,
        VERIFIER_DISCOVERY="observe",
        VERIFIER_TRUST_FEED=str(feed.public),
        VERIFIER_TRUST_FEED_ROOT=str(directory / "root.json"),
        VERIFIER_TRUST_FEED_SECONDS="1",
        VERIFIER_ADMIN_KEYS=json.dumps({"ann": hash_of(ADMIN)}),
        VERIFIER_TENANTS=json.dumps({"contoso": {"keys": [hash_of(BACKEND)]}}),
    ) as server:
        yield Service(server=server, feed=feed, rollover=Rollover.happen(), directory=directory)


@pytest.fixture
def watched(browser: Browser, service: Service) -> Iterator[Watched]:
    with Watched.opened(browser, service.server.url) as opened:
        opened.page.goto(f"{service.server.url}/trust")
        yield opened


def show(page: Page, *, key: str = ADMIN) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_label("API key").press("Enter")


def section(page: Page, title: str) -> Locator:
    return page.get_by_role("region", name=title)


def panel(page: Page, text: str) -> Locator:
    return page.locator("article, .authority").filter(has_text=text).last


def confirm(page: Page, verb: str, *, named: str) -> None:
    """Confirm in the dialog, which must name what is decided."""
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog).to_contain_text(named)
    dialog.get_by_role("button", name=verb, exact=True).press("Enter")
    expect(dialog).to_be_hidden()


def discover(
    service: Service,
    *authorities: pki.Identity,
    issuer: str = "",
    issuer_urls: tuple[str, ...] = ("http://www.microsoft.com/pkiops/certs/New.crt",),
) -> None:
    """Record what a document under these authorities makes the service record."""
    subject = authorities[0].certificate.subject.rfc4514_string() if authorities else issuer
    observation = IssuerObservation(
        cloud=Cloud.PUBLIC,
        issuer=subject,
        authority_key_identifier="0a0b",
        issuer_urls=issuer_urls,
        signer_sha256="5a" * 32,
        seen_at=datetime.now(UTC),
    )
    with closing(service.registry) as registry:
        registry.record(observation, [der(one.certificate) for one in authorities])


def sha256(identity: pki.Identity) -> str:
    return hashlib.sha256(der(identity.certificate)).hexdigest()


def test_an_operator_approves_an_issuer_that_discovery_found(watched: Watched, service: Service) -> None:
    """A document of a new issuer is refused. After the approval on the page, the next one is accepted."""

    def attest() -> object:
        headers = {"Authorization": f"Bearer {BACKEND}", "Content-Type": "application/json"}
        nonce = service.server.request("POST", "/v1/nonces", headers=headers).json["nonce"]
        body = json.dumps(service.rollover.document(str(nonce))).encode()
        return service.server.request("POST", "/v1/attestations", body, headers=headers).code or "verified"

    assert attest() == "issuer-unpinned"
    found = service.rollover.authority_sha256
    await_that(lambda: found in json.dumps(service.asked("GET", "/v1/trust")["discovered"]))
    page = watched.page
    show(page)
    shown = panel(page, found)
    expect(shown).to_contain_text("approvable")
    expect(page.locator("article").filter(has_text=found)).to_contain_text("not verified: what the documents say")
    shown.get_by_role("button", name="Approve…").press("Enter")
    page.keyboard.press("Enter")  # as a key that is held down: it confirms nothing
    expect(page.get_by_role("dialog")).to_contain_text(found)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(shown).to_contain_text(found)
    assert attest() == "issuer-unpinned"
    shown.get_by_role("button", name="Approve…").press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("CN=Emulator Issuing CA 2")
    confirm(page, "Approve", named=found)
    done = page.locator("#done .notice")
    expect(done).to_contain_text(f"Approved: Emulator Issuing CA 2, SHA-256 {found}.")
    expect(done).to_be_focused()
    expect(page.locator("#live")).to_have_text(re.compile("^Approved: "))
    expect(section(page, "Latest changes").locator("li").first).to_contain_text(re.compile("ann: approve"))
    assert attest() == "verified"
    expect(page.locator(".cloud[open] figure desc").first).to_have_text(
        re.compile("Emulator Issuing CA 2: active until")
    )


def test_an_operator_rejects_an_issuer(watched: Watched, service: Service) -> None:
    other = authority("Rejectable CA")
    discover(service, other)
    page = watched.page
    show(page)
    panel(page, sha256(other)).get_by_role("button", name="Reject…").click()
    confirm(page, "Reject", named=sha256(other))
    expect(page.locator("#done")).to_contain_text(f"Rejected: Rejectable CA, SHA-256 {sha256(other)}.")
    expect(section(page, "Rejected authorities")).to_contain_text("CN=Rejectable CA")
    assert sha256(other) in json.dumps(service.asked("GET", "/v1/trust")["rejected"])


def test_an_operator_rejects_a_version_of_the_feed_and_approves_the_next(watched: Watched, service: Service) -> None:
    page = watched.page
    service.offer(1)
    show(page)
    feed = section(page, "Trust feed")
    expect(feed).to_contain_text("waits for approval: version 1")
    expect(feed).to_contain_text("adds the pin CN=Feed CA 1")
    expect(feed).to_contain_text("adds the anchor CN=Feed Root")
    expect(feed).to_contain_text("Why the mode apply waits")
    feed.get_by_role("button", name="Reject…").press("Enter")
    confirm(page, "Reject", named=sha256(authority("Feed CA 1")))
    expect(page.locator("#done")).to_contain_text("Rejected: version 1 of the trust feed.")
    expect(feed).to_contain_text("rejected: version 1")
    expect(feed.get_by_role("button", name="Approve it all the same…")).to_be_visible()
    service.offer(2)
    page.get_by_role("button", name="Reload").click()
    expect(feed).to_contain_text("waits for approval: version 2")
    expect(page.get_by_role("button", name="Reload")).to_be_focused()
    assert "\\u{" not in page.get_by_role("status").inner_text()
    feed.get_by_role("button", name="Approve…").press("Enter")
    confirm(page, "Approve", named="Feed CA 2")
    expect(page.locator("#done")).to_contain_text("Approved: version 2 of the trust feed is in force.")
    expect(feed).to_contain_text("version 2, published")
    changes = section(page, "Latest changes").locator("li strong")
    assert changes.all_inner_texts()[:2] == ["follow feed", "reject feed"]
    assert service.asked("GET", "/v1/trust")["feed"]["inForce"]["version"] == 2


def test_what_changed_meanwhile_is_told_in_the_dialog(watched: Watched, service: Service) -> None:
    """Another operator decides first. The dialog stays open with the sentence of the service."""
    page = watched.page
    other = authority("Contested CA")
    discover(service, other)
    show(page)
    watched.expected.add(404)
    page.route("**/approve", lambda route: route.continue_(url=route.request.url.replace(sha256(other), "0" * 64)))
    panel(page, sha256(other)).get_by_role("button", name="Approve…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Approve", exact=True).click()
    expect(dialog).to_contain_text("No discovered authority has the SHA-256 000")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()


def test_each_certificate_has_a_bar_with_its_state_in_words(watched: Watched, service: Service) -> None:
    page = watched.page
    show(page)
    cloud = page.locator("details.cloud").filter(has_text="AzurePublicCloud")
    cloud.get_by_label(re.compile("Also the 1 certificate whose use ended before")).check()
    expect(cloud.locator("figure desc")).to_contain_text("Ancient CA: expired until")
    described = cloud.locator("figure desc").text_content() or ""
    survey = service.asked("GET", "/v1/trust")
    [public] = [one for one in survey["clouds"] if one["name"] == "AzurePublicCloud"]
    entries = [*public["anchors"], *public["pins"]]
    assert described.count(" until ") == len(entries)
    for name, state in (
        ("Staged CA", "staged"),
        ("Retired CA", "retired"),
        ("Ending CA", "expiring"),
        ("Old CA", "expired"),
    ):
        assert f"{name}: {state} until" in described
    assert cloud.locator("figure .canvas g").count() == len(entries)
    for label in ("now 20", "horizon 20"):
        expect(cloud.locator("figure text").filter(has_text=label)).to_have_count(1)
    # A root outlives the picture: its bar ends in an arrow with the date.
    expect(cloud.locator("figure text").filter(has_text=re.compile(r"until 20\d\d-\d\d-\d\d →")).first).to_be_visible()
    cloud.get_by_text("Every certificate with all its fields").press("Enter")
    fields = cloud.locator(".fields-of li").filter(has_text="Staged CA")
    fields.locator("summary").press("Enter")
    expect(fields).to_contain_text("Activated at")
    expect(fields).to_contain_text(next(one["sha1"] for one in entries if "Staged CA" in one["subject"]))


def test_the_result_stays_busy_while_a_later_request_runs(watched: Watched) -> None:
    page = watched.page
    key = page.get_by_label("API key")
    watched.assert_busy_until_the_last_answer("/v1/trust", lambda: show(page), lambda: key.press("Enter"))
    expect(page.get_by_role("heading", name="Certificates of each cloud")).to_be_visible()


@pytest.mark.parametrize(
    ("key", "status", "sentence"),
    [
        ("", 401, "The service asks for an API key. Type an admin key"),
        (BACKEND, 403, "This kind of API key is not allowed here. Type an admin key"),
    ],
)
def test_other_keys_are_refused_with_a_sentence(watched: Watched, key: str, status: int, sentence: str) -> None:
    page = watched.page
    watched.expected.add(status)
    show(page, key=key)
    expect(page.locator("#result .notice-bad")).to_be_visible()
    assert sentence in re.sub(r"\s+", " ", page.locator("#result").inner_text())
    assert "Certificates of each cloud" not in page.locator("main").inner_text()


def test_hostile_values_stay_text(watched: Watched, service: Service) -> None:
    """A sender chooses the name of an issuer and its addresses, and a CA could choose its own name."""
    page = watched.page
    discover(service, issuer=f"CN={HOSTILE}", issuer_urls=(f"javascript:alert(1)//{HOSTILE[:300]}",))
    named = authority(HOSTILE[:60])
    discover(service, named)
    with closing(service.registry) as registry:
        registry.record_nonconforming(
            NonconformingDocument(
                issuer=HOSTILE,
                pin_sha256="aa" * 32,
                clouds=frozenset({Cloud.PUBLIC}),
                signer_sha256="bb" * 32,
                document_sha256="cc" * 32,
                detail=HOSTILE,
                seen_at=datetime.now(UTC),
            )
        )
    show(page)
    title = page.get_by_role("heading", name=re.compile("onerror=alert")).first
    expect(title).to_have_text(re.compile("^! not verified: "))
    expect(section(page, "Genuine documents with a refused form")).to_contain_text("alert(2)")
    while (buttons := page.get_by_role("button", name=re.compile("Show all .* characters"))).count():
        buttons.first.click()
    panel(page, sha256(named)).get_by_role("button", name="Approve…").click()
    expect(page.get_by_role("dialog")).to_contain_text("onerror=alert(1)")
    watched.assert_accessible()
    confirm(page, "Approve", named=sha256(named))
    expect(page.locator("#done")).to_contain_text("alert(2)")
    assert page.locator("main img, main script, main a[href^=javascript]").count() == 0
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page.locator("main").inner_html()
    watched.assert_accessible()


def test_the_page_is_accessible_and_fits_a_phone(watched: Watched) -> None:
    page = watched.page
    show(page)
    expect(page.get_by_role("heading", name="Certificates of each cloud")).to_be_visible()
    page.get_by_text("Every certificate with all its fields").click()
    page.locator(".fields-of li summary").first.click()
    watched.assert_accessible()
