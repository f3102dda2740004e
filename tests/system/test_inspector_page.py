"""The inspector page, in a browser: what it shows of each document, and what hostile documents do to it."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from playwright.sync_api import Browser, FilePayload, Page, expect
from support import documents
from support.browsers import PHONE, violations
from support.hostile_texts import CLUSTERS, HIDDEN, LONG, SCRIPT, forged_document, genuine_document
from support.live_documents import current_document, current_pki
from support.services import RunningServer, running_service
from support.tenant_keys import hash_of
from support.vectors import VECTORS, find_vector, load_vectors
from support.watched_pages import watched_page

from verifier.api.pages.examples import EXAMPLES
from verifier.cli.conformance_cases import Case
from verifier.core.nonces import NonceMode
from verifier.core.reasons import Check, Reason
from verifier.core.trust.bundle import Denials
from verifier.core.trust.clouds import SERVED_BY_DEFAULT
from verifier.emulator import pki

BACKEND, AGENT, UNLIMITED = "backend-key-of-contoso", "agent-key-of-contoso", "backend-key-of-fabrikam"
#: An inspection asks no store, so it never knows that a nonce is unknown or was used.
NEVER_OF_AN_INSPECTION = {Reason.NONCE_UNKNOWN, Reason.NONCE_REPLAYED}
#: The request itself is over the limit of the service, so there is no inspection to show.
REFUSED_BEFORE = {Reason.TOO_LARGE}
PROBLEM = "Failed to load resource"
#: Text nodes with one of these texts whose row, line or picture does not say that it is unverified.
_UNMARKED = """texts => {
  const found = [];
  const walker = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (!texts.some(text => node.data.includes(text)) || node.parentElement.closest('form')) continue;
    const row = node.parentElement.closest('tr, summary, .leaf, pre, figure, svg, .sentence, .check-detail');
    const said = row === null ? '' : row.textContent + (row.getAttribute('aria-label') ?? '');
    if (!said.includes('unverified')) found.push(node.data.slice(0, 80));
  }
  return found;
}"""
_HIDDEN_TEXTS = """characters => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const texts = node.nodeType === 3 ? [node.data] : [...node.attributes].map(one => one.value);
    for (const text of texts) if ([...characters].some(one => text.includes(one))) found.push(text.slice(0, 80));
  }
  return found;
}"""


def representative(reason: Reason) -> Case:
    """The first vector of this code that needs no other state than time, trust and policies.

    An inspection asks for no nonce, so that a document without one is refused only for another claim.
    """
    return next(
        case
        for case in load_vectors()
        if case.expected.code is reason
        and not case.name.startswith("claims-incomplete/nonce")
        and not case.earlier
        and case.clouds == SERVED_BY_DEFAULT
        and case.denials == Denials()
        and case.nonce_mode is NonceMode.REQUIRED
        and case.tenant_policy == "default"
    )


POLICY_DENIED = representative(Reason.POLICY_DENIED)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service with the trust of the vectors and the policies of one."""
    store = f"sqlite://{tmp_path_factory.mktemp('archive')}/nonces.sqlite3"
    policies = json.dumps(POLICY_DENIED.policies)
    with running_service(
        nonce_store=store, trust_dir=VECTORS / "trust", workers=1, VERIFIER_POLICIES=policies
    ) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, trust_dir: Path) -> Iterator[RunningServer]:
    """A service that reads documents with a claim of 16 KiB, for two tenants. The rate of one is two a minute."""
    store = f"sqlite://{tmp_path_factory.mktemp('guarded')}/nonces.sqlite3"
    tenants = {
        "contoso": {"keys": [hash_of(BACKEND)], "agent_keys": [hash_of(AGENT)], "rate": "2/minute"},
        "fabrikam": {"keys": [hash_of(UNLIMITED)]},
    }
    with running_service(
        nonce_store=store,
        trust_dir=trust_dir,
        workers=1,
        VERIFIER_TENANTS=json.dumps(tenants),
        VERIFIER_MAXIMUM_BODY_BYTES="131072",
    ) as running:
        yield running


@pytest.fixture
def page(browser: Browser, archive: RunningServer) -> Iterator[Page]:
    with watched_page(browser, archive.url) as opened:
        opened.goto(archive.url)
        yield opened


def a_file(data: bytes, name: str = "document") -> FilePayload:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def inspect(page: Page, data: bytes, *, at: datetime | None = None, policy: str = "") -> None:
    """Give the page these bytes as a file, and wait for the answer."""
    page.get_by_role("textbox", name="As of").fill("" if at is None else at.isoformat().replace("+00:00", "Z"))
    page.get_by_label("Policy", exact=True).fill(policy)
    page.get_by_label("File", exact=True).set_input_files(a_file(data))
    expect(page.locator("#result")).to_have_attribute("aria-busy", "false")
    page.locator("#result .notice").wait_for()


def outcomes(page: Page) -> dict[str, str]:
    return {check: str(page.locator(f"#check-{check}").get_attribute("data-outcome")) for check in Check}


def open_everything(page: Page) -> None:
    for button in page.get_by_role("button", name="Open all").all():  # there is none without a structure
        button.click()
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.evaluate(
        "for (const one of document.querySelectorAll('button')) if (one.textContent.startsWith('Show all')) one.click()"
    )


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.asset)
def test_example_shows_what_its_vector_expects(page: Page, example: object) -> None:
    [chosen] = [one for one in EXAMPLES if one is example]
    vector = find_vector(chosen.vector)
    page.get_by_role("button", name=chosen.label).click()
    result = page.locator("#result .notice")
    if vector.expected.code is None:
        expect(result).to_contain_text("Verified")
        assert page.locator(".mark").count() == 0
    else:
        expect(result).to_contain_text("Refused")
        expect(result.get_by_role("link")).to_have_attribute("href", f"/problems/{vector.expected.code}")
        expect(page.get_by_role("region", name="Claims unverified")).to_be_visible()
    assert page.get_by_role("textbox", name="As of").input_value() == chosen.moment


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.asset)
def test_example_is_a_copy_of_its_vector(archive: RunningServer, example: object) -> None:
    [chosen] = [one for one in EXAMPLES if one is example]
    vector = find_vector(chosen.vector)
    assert replace(archive, described=False).request("GET", f"/assets/{chosen.asset}").body == vector.post.body
    assert chosen.at == vector.at


@pytest.mark.parametrize("reason", [one for one in Reason if one not in NEVER_OF_AN_INSPECTION | REFUSED_BEFORE])
def test_refusal_shows_its_sentence_the_failed_check_and_no_unmarked_claim(page: Page, reason: Reason) -> None:
    case = representative(reason)
    inspect(page, case.post.body, at=case.at, policy=case.request.get("policy", ""))
    result = page.locator("#result .notice")
    expect(result).to_contain_text("Refused")
    expect(result.get_by_role("link", name=reason)).to_have_attribute("href", f"/problems/{reason}")
    assert result.locator(".sentence").inner_text().endswith(".")
    assert case.expected.failing_check is not None
    order = list(Check)
    failed = order.index(case.expected.failing_check)
    for check, outcome in outcomes(page).items():
        place = order.index(Check(check))
        if check == Check.NONCE and place != failed:
            assert outcome in {"Skipped", "Not reached"}
        else:
            assert outcome == ("Passed" if place < failed else "Failed" if place == failed else "Not reached")
    if failed > order.index(Check.CHAIN):
        assert page.locator(".mark").count() == 0
        expect(page.get_by_role("region", name="Claims", exact=True)).to_be_visible()
    else:
        open_everything(page)
        claims = documents.content() | {"subscriptionId": documents.VM.subscription_id}
        assert page.evaluate(_UNMARKED, [claims["vmId"], claims["subscriptionId"], "0123456789"]) == []


def test_every_refusal_of_an_inspection_is_looked_at() -> None:
    looked_at = {one for one in Reason if one not in NEVER_OF_AN_INSPECTION | REFUSED_BEFORE}
    assert len(looked_at) == len(Reason) - 3
    assert {representative(reason).expected.code for reason in looked_at} == looked_at


def test_unverified_claims_are_marked_in_names_that_screen_readers_read(page: Page) -> None:
    page.get_by_role("button", name="A tampered document").click()
    claims = page.get_by_role("region", name="Claims unverified")
    expect(claims).to_be_visible()
    headers = claims.get_by_role("rowheader").all_inner_texts()
    assert len(headers) == 11
    assert [header for header in headers if not header.endswith("unverified")] == []
    der = documents.der_of(json.loads(find_vector(EXAMPLES[2].vector).post.body))
    content = dict(re.findall(r'"(vmId|subscriptionId|nonce)":"([^"]+)"', der.decode("latin-1")))
    assert len(content) == 3
    open_everything(page)
    texts = [content["vmId"], content["subscriptionId"], content["nonce"], "metadata.azure.com"]
    assert page.evaluate(_UNMARKED, texts) == []
    for title in ("Times", "Chain", "Names of the signer", "Signed content", "Structure", "Answer as JSON"):
        expect(page.get_by_role("region", name=f"{title} unverified")).to_be_visible()
    for picture in page.locator("svg.picture").all():
        expect(picture.locator("title").first).to_contain_text("unverified")


#: A CA of an attacker with this name signs the documents. Its common name is the first attribute.
CLAIMED = "This document is genuine"
ORGANIZATION = "x,CN=Microsoft TLS G2 RSA CA OCSP 02"


def impostor_document() -> bytes:
    """A document of now that only the name of its CA recommends."""
    validity = documents.around(datetime.now(UTC))
    kinds = (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
    name = x509.Name(
        [x509.NameAttribute(kind, text) for kind, text in zip(kinds, (ORGANIZATION, CLAIMED), strict=True)]
    )
    root = pki.make_root(subject=name, key=documents.spare_key(3), validity=validity)
    signer = pki.make_signer(
        issuer=root,
        subject=pki.make_name("metadata.azure.com"),
        names=("metadata.azure.com",),
        key=documents.spare_key(4),
        validity=validity,
        issuer_urls=(),
    )
    return documents.document(nonce="0123456789", created_on=datetime.now(UTC), signer=signer)


def test_a_sentence_that_quotes_a_forged_document_is_marked_and_announced_as_unverified(page: Page) -> None:
    inspect(page, impostor_document())
    sentence = page.locator("#result .sentence")
    expect(sentence).to_contain_text(re.compile(f"^unverified .*{CLAIMED}"))
    expect(page.locator("#result")).to_contain_text("The sentence can quote the document, which anyone can forge.")
    expect(page.locator("#check-chain .check-detail")).to_contain_text(re.compile(f"^unverified .*{CLAIMED}"))
    expect(page.get_by_role("status")).to_have_text(re.compile(f"Unverified, and anyone can forge it: .*{CLAIMED}"))
    open_everything(page)
    assert page.evaluate(_UNMARKED, [CLAIMED, ORGANIZATION]) == []
    page.locator("#result .sentence .mark, .check-detail .mark").evaluate_all("all => all.forEach(one => one.remove())")
    assert len(page.evaluate(_UNMARKED, [CLAIMED])) == 2


def test_a_sentence_about_a_malformed_answer_is_marked_too(page: Page) -> None:
    inspect(page, b'{"encoding": "genuine", "signature": "MIIM"}')
    expect(page.locator("#result .sentence")).to_contain_text(re.compile("^unverified .*genuine"))
    expect(page.locator("#check-format .check-detail")).to_contain_text(re.compile("^unverified .*genuine"))
    expect(page.get_by_role("status")).to_have_text(re.compile("Unverified, and anyone can forge it: "))
    open_everything(page)
    assert page.evaluate(_UNMARKED, ["genuine"]) == []


def test_the_short_name_of_a_certificate_is_its_common_name_only(page: Page) -> None:
    inspect(page, impostor_document())
    expect(page.locator("svg.picture desc").filter(has_text="Issuer that the signer names")).to_contain_text(
        f"Issuer that the signer names: {CLAIMED},"
    )
    names = {
        r"CN=attacker,O=x\,CN=Microsoft": "attacker",
        r"O=x\,CN=Microsoft,CN=attacker": "attacker",
        r"O=x\2CCN\3DMicrosoft,CN=attacker": "attacker",
        "OU=one+cn=two,O=x": "two",
        "2.5.4.3=by its number": "by its number",
        r"CN=\C3\A9\, \\ \#,O=x": "é, \\ #",
        # No answer is better than one of two.
        "CN=Microsoft,CN=attacker": "CN=Microsoft,CN=attacker",
        "O=x": "O=x",
        "CN=,O=x": "CN=,O=x",
        r"O=x\y,CN=Microsoft": r"O=x\y,CN=Microsoft",
        r"O=\FF,CN=Microsoft": r"O=\FF,CN=Microsoft",
        "Microsoft": "Microsoft",
        "": "(no name)",
    }
    shown = page.evaluate(
        "async names => { const { shortName } = await import('/assets/names.js'); return names.map(shortName); }",
        list(names),
    )
    assert dict(zip(names, shown, strict=True)) == names


def test_a_claim_without_its_mark_is_found_by_these_tests(page: Page) -> None:
    page.get_by_role("button", name="A tampered document").click()
    page.get_by_role("region", name="Claims unverified").wait_for()
    page.evaluate("document.querySelector('.unverified .rows tr:nth-child(2) .mark').remove()")
    value = page.get_by_role("region", name="Claims unverified").locator("tr:nth-child(2) td").inner_text()
    assert page.evaluate(_UNMARKED, [value]) == [value]


def test_verified_document_shows_chain_names_times_and_structure(page: Page) -> None:
    page.get_by_role("button", name="A verified document").click()
    expect(page.get_by_role("img", name=re.compile("^Chain from the signer to the trust anchor"))).to_be_visible()
    description = page.locator("svg.picture desc").all_text_contents()
    chain = (
        "Signer: metadata.azure.com.*Issuer: Microsoft TLS G2 RSA CA OCSP 02.*pin active.*Trust anchor: .*pin active"
    )
    assert any(re.search(chain, one) for one in description)
    assert any("created 2026-07-28 13:24:00 UTC, expires 2026-07-28 19:24:00 UTC" in one for one in description)
    names = page.get_by_role("region", name="Names of the signer")
    assert names.get_by_role("row").nth(2).inner_text().split() == [
        *("Alternative", "name", "eastus.metadata.azure.com"),
        *("✓", "in", "the", "domain", "metadata.azure.com", "of", "AzurePublicCloud"),
    ]
    structure = page.get_by_role("region", name="Structure")
    first = structure.locator("summary").first
    assert first.inner_text().split() == ["Byte", "0", "contentInfo", "SEQUENCE", "3156", "bytes"]
    structure.get_by_role("button", name="Close all").click()
    expect(structure.get_by_text("signedData", exact=True)).to_be_hidden()
    structure.get_by_role("button", name="Open all").click()
    expect(structure.locator(".field", has_text=re.compile("^eContent$")).first).to_be_visible()


def test_answer_can_be_read_and_copied_as_json(browser: Browser, archive: RunningServer) -> None:
    with watched_page(browser, archive.url) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.goto(archive.url)
        page.get_by_role("button", name="A verified document").click()
        page.get_by_role("button", name="Copy the answer").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        copied = page.evaluate("navigator.clipboard.readText()")
        page.get_by_text("Show the answer").click()
        answer = page.get_by_role("group", name="Answer", exact=True)
        expect(answer).not_to_be_empty()  # the page fills it after it has opened
        shown = answer.text_content()
    assert json.loads(copied) == json.loads(str(shown))
    assert json.loads(copied)["authentic"]["cloud"] == "AzurePublicCloud"


@pytest.mark.parametrize("form", ["answer", "base64", "pem"])
def test_any_form_of_a_document_can_be_pasted(page: Page, form: str) -> None:
    vector = find_vector(EXAMPLES[0].vector)
    signature = json.loads(vector.post.body)["signature"]
    pem = f"-----BEGIN PKCS7-----\n{signature}\n-----END PKCS7-----\n"
    page.get_by_label("Document", exact=True).fill(
        {"answer": vector.post.body.decode(), "base64": signature, "pem": pem}[form]
    )
    page.get_by_role("textbox", name="As of").fill("2026-07-28 14:00")
    page.get_by_role("button", name="Inspect").click()
    expect(page.locator("#result .notice")).to_contain_text("Verified")
    expect(page.locator("#result")).to_contain_text("2026-07-28 14:00:00 UTC")


def test_a_dropped_file_is_sent_unchanged_and_keeps_what_was_typed(page: Page) -> None:
    der = base64.b64decode(json.loads(find_vector(EXAMPLES[0].vector).post.body)["signature"])
    typed = page.get_by_label("Document", exact=True)
    typed.fill("my notes")
    page.get_by_role("textbox", name="As of").fill("2026-07-28T14:00:00Z")
    with page.expect_request("**/v1/inspections*") as sent:
        page.evaluate(
            """bytes => {
              const moved = new DataTransfer();
              moved.items.add(new File([new Uint8Array(bytes)], 'document.der'));
              const options = { dataTransfer: moved, bubbles: true, cancelable: true };
              document.querySelector('footer').dispatchEvent(new DragEvent('dragover', options));
              document.querySelector('footer').dispatchEvent(new DragEvent('drop', options));
            }""",
            [*der],
        )
    assert sent.value.post_data_buffer == der
    expect(page.locator("#result .notice")).to_contain_text("Verified")
    expect(page.get_by_text("File document.der")).to_be_visible()
    page.get_by_role("button", name="Remove the file").click()
    assert typed.input_value() == "my notes"


def test_an_inspection_redeems_no_nonce(browser: Browser, service: RunningServer) -> None:
    document = current_document(service.issue_nonce())
    answer = documents.imds_answer(document)
    with watched_page(browser, service.url) as page:
        page.goto(service.url)
        for _ in range(2):
            inspect(page, json.dumps(answer).encode())
            expect(page.locator("#result .notice")).to_contain_text("Verified")
    assert service.post_json("/v1/attestations", answer).status == 200
    assert service.post_json("/v1/attestations", answer).json["code"] == "nonce-replayed"


@pytest.mark.parametrize("make", [genuine_document, forged_document], ids=["genuine", "forged"])
def test_hostile_document_is_shown_as_text(browser: Browser, guarded: RunningServer, make: object) -> None:
    is_genuine = make is genuine_document
    document = genuine_document() if is_genuine else forged_document()
    with watched_page(browser, guarded.url) as page:
        page.goto(guarded.url)
        page.get_by_label("API key").fill(UNLIMITED)
        inspect(page, document)
        claims = page.get_by_role("region", name="Claims" if is_genuine else "Claims unverified", exact=True)
        # It is there as text, with its escapes.
        expect(claims).to_contain_text("<script>window.cheated=1</script>")
        expect(claims).to_contain_text("\\u{202E}gnp.exe\\u{202C}")
        if is_genuine:
            expect(page.locator("#result .notice")).to_contain_text("Verified")
            assert len(claims.inner_text()) < len(LONG) // 2
        page.emulate_media(color_scheme="light" if is_genuine else "dark")
        page.set_viewport_size(PHONE)
        found = violations(page)
        open_everything(page)
        if is_genuine:
            expect(claims).to_contain_text(LONG)
        else:
            assert page.evaluate(_UNMARKED, [SCRIPT[:20], "gnp.exe"]) == []
        assert page.evaluate(_HIDDEN_TEXTS, HIDDEN) == []
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert found == []
        assert page.evaluate("window.cheated") is None
    assert "\u202egnp.exe".encode() in document


def inspect_genuine(page: Page, service: RunningServer, **claims: object) -> None:
    """Let the page inspect a document of now with these claims."""
    content = documents.content(created_on=datetime.now(UTC)) | claims
    page.goto(service.url)
    page.get_by_label("API key").fill(UNLIMITED)
    inspect(page, documents.sign(json.dumps(content, ensure_ascii=False).encode(), signer=current_pki().signer))
    expect(page.locator("#result .notice")).to_contain_text("Verified")


@pytest.mark.parametrize(
    "text",
    [*CLUSTERS, *((one * 9)[:16] * 40 for one in CLUSTERS[1:3])],
    ids=lambda text: f"{ord(text[1]):x}-{len(text)}",
)
def test_clusters_of_characters_are_not_wider_than_a_phone(browser: Browser, guarded: RunningServer, text: str) -> None:
    with watched_page(browser, guarded.url) as page:
        page.set_viewport_size(PHONE)
        inspect_genuine(page, guarded, sku=text, **{text: text})
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        open_everything(page)
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_only_long_clusters_are_escapes(page: Page) -> None:
    texts = {
        "x" + "\u1100" * 16 + "y": "x" + "\u1100" * 16 + "y",
        "x" + "\u1100" * 17 + "y": "x" + r"\u{1100}" * 17 + "y",
        "\u0600" * 9 + "a" + "\u0301" * 9: r"\u{0600}" * 9 + r"\u{0061}" + r"\u{0301}" * 9,
        "\u0301" * 20: r"\u{0301}" * 20,
        "\u202e" + "\u1100" * 17 + "\u202c": r"\u{202E}" + r"\u{1100}" * 17 + r"\u{202C}",
        "\u0915\u094d\u0937\u0924\u094d\u0930\u093f\u092f" * 9: "\u0915\u094d\u0937\u0924\u094d\u0930\u093f\u092f" * 9,
    }
    written = page.evaluate(
        """async texts => {
          const { escaped, jsonText, visible } = await import('/assets/dom.js');
          const textOf = nodes => nodes.map(node => node.textContent).join('');
          return texts.map(one => [escaped(one), textOf(visible(one)), JSON.parse(jsonText(one))]);
        }""",
        list(texts),
    )
    assert written == [[text, text, given] for given, text in texts.items()]


def test_characters_without_a_width_are_escapes_and_none_is_cut_in_two(page: Page) -> None:
    hidden = "\ufff0\ufff8\ufffc\u070f\u2064\U000110bd\U000e0100"
    smile = "\N{GRINNING FACE}"
    written = page.evaluate(
        """async ([hidden, ...texts]) => {
          const { cut, escaped } = await import('/assets/dom.js');
          return [escaped(hidden), ...texts.map(one => cut(one, 10))];
        }""",
        [hidden, f"{'x' * 9}{smile}", f"{'x' * 8}{smile}y", "x"],
    )
    assert written == [
        "".join(rf"\u{{{ord(one):04X}}}" for one in hidden),
        "x" * 9,
        "x" * 8 + smile,
        "x",
    ]


def test_numbers_of_the_signed_content_are_shown_as_they_were_written(browser: Browser, guarded: RunningServer) -> None:
    with watched_page(browser, guarded.url) as page:
        inspect_genuine(page, guarded, big=9007199254740993, minus=-0.0)
        content = page.get_by_role("region", name="Signed content")
        expect(content).to_contain_text('"big": 9007199254740993')
        expect(content).to_contain_text('"minus": -0.0')


def test_contents_of_an_element_that_has_none_are_marked_in_the_structure(page: Page) -> None:
    inspect(page, bytes.fromhex("3006 0504 6576696c"))
    expect(page.get_by_role("region", name="Structure unverified")).to_contain_text("6576696c")
    assert page.evaluate(_UNMARKED, ["6576696c"]) == []


def test_page_is_accessible_in_light_and_dark_and_fits_a_phone(page: Page) -> None:
    found = violations(page)
    page.get_by_role("button", name="A verified document").click()
    expect(page.locator("#result .notice")).to_contain_text("Verified")
    page.evaluate("for (const one of document.querySelectorAll('.certificate')) one.open = true")
    found += violations(page)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size(PHONE)
    page.get_by_role("button", name="A tampered document").click()
    expect(page.locator("#result .notice")).to_contain_text("Refused")
    assert found + violations(page) == []
    open_everything(page)
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_keyboard_alone_inspects_a_document_and_opens_the_structure(page: Page) -> None:
    def tab_to(condition: str) -> None:
        for _ in range(200):
            page.keyboard.press("Tab")
            if page.evaluate(f"(element => {condition})(document.activeElement)"):
                return
        raise AssertionError(f"no element is reached by Tab: {condition}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    tab_to("element.id === 'document'")
    page.keyboard.insert_text(find_vector(EXAMPLES[0].vector).post.body.decode())
    tab_to("element.id === 'at'")
    page.keyboard.type("2026-07-28 14:00")
    tab_to("element.id === 'inspect'")
    page.keyboard.press("Space")
    expect(page.locator("#result .notice")).to_contain_text("Verified")
    expect(page.get_by_role("status")).to_have_text("Verified.")
    tab_to("element.tagName === 'SUMMARY' && element.textContent.includes('encapContentInfo')")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    expect(page.locator(".field", has_text=re.compile("^eContent$")).first).to_be_hidden()
    page.keyboard.press("Enter")
    expect(page.locator(".field", has_text=re.compile("^eContent$")).first).to_be_visible()


def test_problems_are_sentences_and_the_key_stays_in_memory(browser: Browser, guarded: RunningServer) -> None:
    answer = json.dumps(documents.imds_answer(current_document("0123456789")))
    with watched_page(browser, guarded.url, allowed=(PROBLEM,)) as page:
        page.goto(guarded.url)
        document, key, result = (
            page.get_by_label("Document", exact=True),
            page.get_by_label("API key"),
            page.locator("#result"),
        )
        document.fill(answer)

        def expect_problem(sentence: str, *, typed: str) -> None:
            key.fill(typed)
            page.get_by_role("button", name="Inspect").click()
            expect(result).to_contain_text(sentence)
            expect(result).to_have_attribute("aria-busy", "false")
            assert document.input_value() == answer

        expect_problem("The service asks for an API key.", typed="")
        expect_problem("The service does not know this API key.", typed="wrong")
        expect_problem("The API key has a character that no key has.", typed="кey")
        expect_problem("This kind of API key is not allowed here.", typed=AGENT)
        expect_problem("Verified", typed=BACKEND)
        page.get_by_role("textbox", name="As of").fill("yesterday")
        expect_problem("“As of” has no time that the service takes.", typed=BACKEND)
        page.get_by_role("textbox", name="As of").fill("2026-02-31 14:00")
        expect_problem("Type a time in UTC from 2000 to 2099, such as 2026-07-28 14:00", typed=BACKEND)
        expect(page.get_by_role("textbox", name="As of")).to_be_focused()
        page.get_by_role("textbox", name="As of").fill("")
        expect_problem("Verified", typed=BACKEND)
        expect_problem("You have sent more requests than your rate allows.Try again in", typed=BACKEND)
        expect_problem("Verified", typed=UNLIMITED)
        expect(page.get_by_role("region", name="Claims", exact=True)).to_be_visible()
        key.fill("")
        expect(result).to_be_empty()
        expect(page.locator("#report")).to_be_empty()
        assert set(outcomes(page).values()) == {""}
        key.fill(BACKEND)
        assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        assert page.context.cookies() == []
        assert BACKEND not in page.url
        assert BACKEND not in page.content()
        page.reload()
        assert key.input_value() == ""


def test_unavailable_service_and_large_files_are_told_and_the_input_stays(
    browser: Browser, archive: RunningServer
) -> None:
    with watched_page(browser, archive.url, allowed=(PROBLEM,)) as page:
        page.goto(archive.url)
        document, result = page.get_by_label("Document", exact=True), page.locator("#result")
        document.fill("MIIM")
        page.route("**/v1/inspections*", lambda route: route.abort())
        page.get_by_role("button", name="Inspect").click()
        expect(result).to_contain_text("The service did not answer.")
        page.unroute("**/v1/inspections*")
        problem = {"code": "store-unavailable", "detail": "The store does not answer.", "requestId": "0" * 32}
        page.route(
            "**/v1/inspections*",
            lambda route: route.fulfill(status=503, body=json.dumps(problem), headers={"Retry-After": "3"}),
        )
        page.get_by_role("button", name="Inspect").click()
        expect(result).to_contain_text("The service is not available at the moment.Try again in 3 seconds.")
        page.unroute("**/v1/inspections*")
        assert document.input_value() == "MIIM"
        inspect(page, find_vector("too-large/json-one-byte-too-many").post.body)
        expect(result).to_contain_text("The request is larger than this service reads.")
        page.get_by_label("File", exact=True).set_input_files(a_file(bytes(1024 * 1024 + 1)))
        expect(result).to_contain_text("No service reads more than 1,048,576 bytes.")
