"""The page of decisions in a real browser: a person finds a refused customer, reads the record, and counts VMs."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from support.browsers import PHONE
from support.decisions import SUBSCRIPTION, claims_of, garbage_of, record_of
from support.documents import imds_answer
from support.hostile_texts import CLUSTERS
from support.live_documents import current_document, write_current_trust
from support.services import RunningServer, running_service
from support.tenant_keys import hash_of
from support.watched_pages import Watched

from verifier.adapters.sqlite.decision_store import SqliteDecisionStore
from verifier.core.model import Plan
from verifier.core.policy import Denial
from verifier.core.reasons import Check
from verifier.core.trust.clouds import Cloud
from verifier.ports.decisions import AppraisalRecord, Verdict

ADMIN, CONTOSO, FABRIKAM, AGENT, NORTHWIND = (
    f"{name}-key-of-the-page-tests" for name in ("admin", "contoso", "fabrikam", "agent", "northwind")
)
REFUSED_VM = "7e57c0de-7d42-4f0a-9b57-1f6d2e8c4a90"
FABRIKAM_VM = "0f5e7a10-3c1d-4f64-9a0e-2b7f3f0c9d11"
CLUSTERS_VM = "77777777-7777-4777-8777-777777777777"
HOSTILE_VM = "66666666-6666-4666-8666-666666666666"
#: Script, markup, a quote, an override of the direction, and a name without an end.
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>\N{RIGHT-TO-LEFT OVERRIDE}dlog' + "x" * 3000


def denied(at: datetime, tenant: str, vm: str, **changes: object) -> AppraisalRecord:
    denial = Denial(
        policy="appliance", rule="plan.name is allowed", found="silver", allowed=("gold", "platinum"), allowed_count=12
    )
    fields = {
        "verdict": Verdict.REFUSED,
        "code": "policy-denied",
        "failed_check": Check.POLICY,
        "detail": "Policy 'appliance', rule 'plan.name is allowed': The document's plan.name is not allowed.",
        "claims": claims_of(vm, plan=Plan(publisher="contoso", product="appliance", name="silver")),
        "denial": denial,
        "steps": ((Check.FORMAT, 0.0004), (Check.SIGNATURE, 0.0002), (Check.POLICY, 0.0001)),
        "seconds": 0.0021,
        "request_id": "ab" * 16 if vm == REFUSED_VM else "cd" * 16,
    }
    return record_of(at, tenant, **{**fields, **changes})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A service that keeps the decisions of two tenants."""

    service: RunningServer
    now: datetime


def records(now: datetime) -> Iterator[AppraisalRecord]:
    # Other tests add decisions of Contoso: the requests that the service refuses to its keys.
    for tenant in ("contoso", "northwind"):
        yield from ordinary(now, tenant)
        yield denied(
            now - timedelta(minutes=3), tenant, REFUSED_VM, request_id=("ab" if tenant == "contoso" else "12") * 16
        )
    yield denied(now - timedelta(minutes=2), "fabrikam", FABRIKAM_VM)
    # The document is forged: it says of itself that it is genuine.
    yield garbage_of(
        now - timedelta(minutes=4),
        "forged",
        code="chain-untrusted",
        failed_check=Check.CHAIN,
        cloud=Cloud.PUBLIC,
        request_id="f0" * 16,
        issuer="CN=Genuine CA",
        signer_serial="0123",
        detail="CN=Genuine CA is no trusted CA.",
    )
    yield garbage_of(
        now - timedelta(minutes=4),
        "",
        code="method-not-allowed",
        request_id="f1" * 16,
        key="admin:3f2a91bc",
        issuer="",
        document_sha256="",
        detail="The path does not take this method.",
    )
    plan = Plan(publisher=HOSTILE, product=HOSTILE, name=HOSTILE)
    found = Denial(policy="p", rule=HOSTILE, found=HOSTILE, allowed=(HOSTILE, "b"), allowed_count=2)
    yield denied(
        now - timedelta(minutes=1), "hostile", HOSTILE_VM, request_id="ef" * 16, issuer=f"CN={HOSTILE}"[:1024],
        claims=claims_of(HOSTILE_VM, plan=plan, sku=HOSTILE), denial=found, detail=HOSTILE,
    )  # fmt: skip
    for number, text in enumerate(CLUSTERS):
        claims = claims_of(CLUSTERS_VM, plan=Plan(publisher=text, product=text, name=text), sku=text)
        found = Denial(policy="p", rule=text, found=text, allowed=(text, "b"), allowed_count=2)
        yield denied(
            now - timedelta(minutes=1), "clusters", CLUSTERS_VM, request_id=f"{number:032x}", issuer=f"CN={text}",
            claims=claims, denial=found, detail=text,
        )  # fmt: skip
    yield record_of(now - timedelta(minutes=1), "hostile", claims=claims_of(HOSTILE_VM, plan=plan, sku=HOSTILE))


def ordinary(now: datetime, tenant: str) -> Iterator[AppraisalRecord]:
    """Return 120 records of the last 14 hours."""
    for number in range(120):
        at = now - timedelta(minutes=7 * number + 10)
        vm = f"{number:08x}-74ef-476e-8182-f6d2ba4166a6"
        plan = Plan(publisher="contoso", product="appliance", name="gold" if number % 3 else "silver")
        if number % 11 == 0:
            yield garbage_of(at, tenant, code="chain-untrusted", failed_check=Check.CHAIN)
        elif number % 17 == 0:
            yield record_of(at, tenant, verdict=Verdict.UNAVAILABLE, code="store-unavailable", claims=None)
        else:
            yield record_of(at, tenant, claims=claims_of(vm, plan=plan))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    directory = tmp_path_factory.mktemp("decisions")
    now = datetime.now(UTC)
    with closing(SqliteDecisionStore(directory / "nonces-decisions.sqlite3", bytes_per_tenant=2**26)) as store:
        store.append(tuple(records(now)))
    tenants = {
        "contoso": {"keys": [hash_of(CONTOSO)], "agent_keys": [hash_of(AGENT)]},
        "fabrikam": {"keys": [hash_of(FABRIKAM)]},
        "northwind": {"keys": [hash_of(NORTHWIND)]},
        "slow": {"keys": [hash_of("slow-key-of-the-page-tests")], "rate": "1/hour"},
    }
    with running_service(
        nonce_store=f"sqlite://{directory}/nonces.sqlite3",
        trust_dir=write_current_trust(directory / "trust"),
        workers=1,
        VERIFIER_TENANTS=json.dumps(tenants),
        VERIFIER_ADMIN_KEYS=json.dumps({"ann": hash_of(ADMIN)}),
    ) as service:
        yield Kept(service=service, now=now)


@pytest.fixture
def watched(browser: Browser, kept: Kept) -> Iterator[Watched]:
    with Watched.opened(browser, kept.service.url) as opened:
        opened.page.goto(f"{kept.service.url}/decisions")
        yield opened


def search(page: Page, text: str = "", *, key: str = ADMIN) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_label("VM, subscription or request").fill(text)
    page.get_by_label("VM, subscription or request").press("Enter")


def test_support_finds_a_refused_customer_with_the_keyboard(watched: Watched) -> None:
    """Two fields and Enter: the only decision is open at once."""
    page = watched.page
    page.get_by_label("API key").focus()
    page.keyboard.type(CONTOSO)
    page.keyboard.press("Tab")
    page.keyboard.type(f"  {{{REFUSED_VM.upper()}}} ")
    page.keyboard.press("Enter")
    record = page.locator(".record")
    expect(record.locator(".sentence")).to_have_text(
        "Policy 'appliance', rule 'plan.name is allowed': The document's plan.name is not allowed."
    )
    denial = record.locator(".denial")
    for text in ("plan.name is allowed", "silver", "gold", "platinum", "and 10 more"):
        expect(denial).to_contain_text(text)
    expect(record.get_by_role("link", name="policy-denied")).to_have_attribute("href", "/problems/policy-denied")
    record.locator("summary").press("Enter")
    expect(record.get_by_role("row", name="signature 0.2")).to_be_visible()
    expect(page.locator("#live")).to_contain_text("Shown: the only decision that matches")
    assert "key" not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert CONTOSO not in page.url


def test_the_request_id_of_a_problem_and_a_subscription_are_found_in_the_same_field(watched: Watched) -> None:
    page = watched.page
    search(page, "ab" * 16)
    expect(page.get_by_role("heading", name="The decision of this request")).to_be_visible()
    expect(page.locator(".decision[open]")).to_contain_text(REFUSED_VM)
    search(page, SUBSCRIPTION)
    expect(page.locator("#result")).to_contain_text("These are of the subscription with it.")
    assert page.locator(".decision").count() > 10


def test_a_text_that_is_no_id_is_told_and_stays(watched: Watched) -> None:
    page = watched.page
    search(page, "ab" * 16)
    expect(page.locator(".decision")).to_have_count(1)
    search(page, "contoso")
    expect(page.locator("#result")).to_be_empty()
    expect(page.get_by_role("status")).to_have_text(re.compile("^This is no id: "))
    field = page.get_by_label("VM, subscription or request")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#find-hint")).to_contain_text("This is no id: ")
    expect(field).to_have_value("contoso")
    field.fill(REFUSED_VM)
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_what_a_forged_document_says_is_marked_as_not_proven(watched: Watched) -> None:
    page = watched.page
    search(page, "f0" * 16)
    record = page.locator(".record")
    expect(record.locator(".sentence")).to_have_text("not proven CN=Genuine CA is no trusted CA.")
    for name, value in (("Cloud", "AzurePublicCloud"), ("Issuer", "CN=Genuine CA"), ("Signer's serial number", "0123")):
        expect(record.locator("dt", has_text=f"{name} not proven").locator("+ dd")).to_have_text(value)
    expect(record.locator("dt", has_text="SHA-256 of the document")).to_have_text("SHA-256 of the document")
    search(page, "ab" * 16)
    expect(record.locator("dt", has_text="Issuer")).to_have_text("Issuer")
    expect(record).not_to_contain_text("proven")


def test_a_request_without_a_document_has_no_words_about_claims(watched: Watched) -> None:
    page = watched.page
    search(page, "f1" * 16)
    record = page.locator(".record")
    expect(record.locator(".sentence")).to_have_text("The path does not take this method.")
    expect(record.locator("dt", has_text="Tenant").locator("+ dd")).to_have_text("none (an admin key)")
    expect(record).not_to_contain_text("proven")


def test_a_tenant_sees_its_own_decisions_only(watched: Watched) -> None:
    page = watched.page
    search(page, FABRIKAM_VM, key=CONTOSO)
    expect(page.locator("#result")).to_contain_text("No decision matches.")
    watched.expected.add(404)
    search(page, "cd" * 16, key=CONTOSO)
    expect(page.locator("#result")).to_contain_text("There is no decision of this request.")
    search(page, key=CONTOSO)
    page.get_by_role("button", name="Load older decisions").click()
    expect(page.get_by_text("There are no older decisions that match.")).to_be_visible()
    assert page.locator(".decision").count() >= 121
    assert FABRIKAM_VM not in page.content()
    search(page, FABRIKAM_VM, key=FABRIKAM)
    expect(page.locator(".decision")).to_have_count(1)
    # What one key showed is gone before the next key is typed.
    page.get_by_label("API key").fill("x")
    assert FABRIKAM_VM not in page.locator("#result").inner_html()


def test_the_chart_says_which_decisions_it_shows_and_agrees_with_its_table(watched: Watched) -> None:
    page = watched.page
    search(page, key=NORTHWIND)
    figure = page.locator("figure")
    expect(figure.locator("figcaption")).to_contain_text(
        re.compile(r"the newest 50 decisions that match, from 20.* UTC to 20.* UTC \(each bar is 15 minutes\)")
    )
    expect(page.get_by_role("heading", name="The newest 50 decisions", exact=True)).to_be_visible()
    page.get_by_role("button", name="Load older decisions").press("Enter")
    expect(page.get_by_text("There are no older decisions that match.")).to_be_focused()
    expect(page.get_by_role("heading", name="121 decisions", exact=True)).to_be_visible()
    expect(figure.locator("figcaption")).to_contain_text(re.compile(r"all 121 decisions that match"))
    expect(page.get_by_text("There are no older decisions that match.")).to_be_visible()
    expect(figure.locator(".legend")).to_have_text(re.compile(r"verified 102\s+refused 12\s+unavailable 7"))
    figure.locator("summary").press("Enter")
    rows = figure.locator("tbody tr").all_inner_texts()
    sums = [sum(int(row.split("\t")[column]) for row in rows) for column in (1, 2, 3)]
    assert sums == [102, 12, 7]
    # Each verdict has a fill of its own kind, so that colour is not the only difference.
    fills = figure.locator(".canvas rect[fill]").evaluate_all(
        "all => new Set(all.map(one => one.getAttribute('fill'))).size"
    )
    assert fills == 3


def test_filters_narrow_the_search(watched: Watched) -> None:
    page = watched.page
    page.locator("#filters > summary").press("Enter")
    page.get_by_label("Verdict").select_option("unavailable")
    page.get_by_label("Tenant, for an admin key").first.fill("northwind")
    search(page)
    expect(page.locator(".decision")).to_have_count(7)
    watched.expected.add(400)
    page.get_by_label("Code").fill("none-such")
    page.get_by_label("Code").press("Enter")
    expect(page.locator("#result")).to_contain_text("docs/integrate/reasons.md")
    expect(page.get_by_label("Code")).to_have_value("none-such")
    page.get_by_role("button", name="Clear all filters").click()
    page.get_by_label("Tenant, for an admin key").first.fill("hostile")
    page.get_by_label("From (UTC)").fill((datetime.now(UTC) - timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M"))
    page.get_by_label("From (UTC)").press("Enter")
    expect(page.locator(".decision")).to_have_count(2)
    page.get_by_label("Before (UTC)").fill(page.get_by_label("From (UTC)").input_value())
    page.get_by_label("Before (UTC)").press("Enter")
    expect(page.locator("#result")).to_contain_text("No decision matches.")


def test_an_empty_page_is_not_the_end_of_the_search(watched: Watched) -> None:
    """The service may answer with a cursor and no decision. The page goes on until there is one, or no cursor."""
    page, asked = watched.page, []

    def answer(route: Route) -> None:
        url = route.request.url
        asked.append(url)
        if len(asked) < 4:
            body = {"decisions": [], "cursor": f"page-{len(asked)}"}
            route.fulfill(json=body)
        else:
            route.continue_(url=url.split("&cursor=")[0])

    page.route("**/v1/decisions?*", answer)
    search(page, REFUSED_VM, key=CONTOSO)
    expect(page.locator(".decision")).to_have_count(1)
    assert [url.partition("cursor=")[2] for url in asked] == ["", "page-1", "page-2", "page-3"]


def test_the_result_stays_busy_while_a_later_search_runs(watched: Watched) -> None:
    page = watched.page
    field = page.get_by_label("VM, subscription or request")
    watched.assert_busy_until_the_last_answer(
        "/v1/decisions?*", lambda: search(page, REFUSED_VM, key=CONTOSO), lambda: field.press("Enter")
    )
    expect(page.locator(".decision")).to_have_count(1)


@pytest.mark.parametrize(
    ("key", "status", "sentence"),
    [
        ("", 401, "The service asks for an API key. Type a backend key or an admin key"),
        ("wrong-key", 401, "The service does not know this API key."),
        (AGENT, 403, "This kind of API key is not allowed here. Type a backend key or an admin key"),
        ("slow-key-of-the-page-tests", 429, "You have sent more requests than your rate allows. Try again in "),
    ],
)
def test_what_is_wrong_is_a_sentence_and_the_input_stays(
    watched: Watched, key: str, status: int, sentence: str
) -> None:
    page = watched.page
    watched.expected.add(status)
    search(page, REFUSED_VM, key=key)
    expect(page.locator("#result .notice-bad")).to_be_visible()
    assert sentence in re.sub(r"\s+", " ", page.locator("#result").inner_text())
    expect(page.get_by_label("VM, subscription or request")).to_have_value(REFUSED_VM)
    expect(page.get_by_label("API key")).to_have_value(key)
    # Screen readers hear one line of words, without escapes of its line breaks.
    expect(page.get_by_role("status")).to_contain_text(sentence)
    assert "\\u{" not in page.get_by_role("status").inner_text()


def test_usage_of_a_month_is_counted_with_its_quality(watched: Watched, kept: Kept) -> None:
    page = watched.page
    page.get_by_label("API key").fill(ADMIN)
    watched.expected.add(400)
    page.get_by_role("button", name="Count").click()
    field = page.get_by_label("Tenant, required for an admin key")
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_role("status")).to_contain_text("An admin key counts the VMs of one tenant: type its name.")
    watched.expected.clear()
    page.get_by_role("button", name="Count").click()  # the page now knows it, and does not ask the service again
    expect(field).to_be_focused()
    page.keyboard.type("contoso")
    expect(field).not_to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Count").press("Enter")
    expect(page.locator("#usage-result h3")).to_have_text(re.compile(r"virtual machines?, 20\d\d-\d\d-01 to 20"))
    counted = kept.service.request("GET", "/v1/usage?tenant=contoso", headers={"Authorization": f"Bearer {ADMIN}"}).json
    expect(page.locator("#usage-result h3")).to_contain_text(f"{counted['total']} virtual machine")
    expect(page.get_by_role("row", name="contoso/appliance/gold")).to_be_visible()
    expect(page.get_by_role("button", name="Count")).to_be_focused()
    expect(page.locator("#usage-result caption")).to_contain_text("Virtual machines by plan.")
    expect(page.locator("#usage-result")).to_contain_text("exact")
    expect(page.locator("#usage-result")).to_contain_text("incomplete")
    page.get_by_label("Counted by").select_option("cloud")
    page.get_by_label("Month", exact=True).select_option(index=2)
    page.get_by_role("button", name="Count").click()
    expect(page.locator("#usage-result")).to_contain_text("No VM was verified in this period.")
    page.get_by_label("API key").fill(FABRIKAM)
    expect(page.locator("#usage-result")).to_be_empty()
    watched.expected.add(403)
    page.get_by_role("button", name="Count").click()
    expect(page.locator("#usage-result")).to_contain_text("A backend key sees its own tenant only.")


def test_a_service_that_keeps_no_decisions_says_so(browser: Browser, tmp_path: Path) -> None:
    with (
        running_service(
            nonce_store=f"sqlite://{tmp_path}/nonces.sqlite3",
            trust_dir=write_current_trust(tmp_path / "trust"),
            workers=1,
            VERIFIER_DECISION_STORE="none",
            VERIFIER_ADMIN_KEYS=json.dumps({"ann": hash_of(ADMIN)}),
        ) as service,
        Watched.opened(browser, service.url) as watched,
    ):
        watched.expected.add(404)
        watched.page.goto(f"{service.url}/decisions")
        search(watched.page)
        expect(watched.page.locator("#result")).to_contain_text("This service keeps no decisions")


def test_the_decision_of_a_real_document_is_shown(watched: Watched, kept: Kept) -> None:
    """The request id of a refusal leads to its record, as a customer quotes it."""
    authorization = {"Authorization": f"Bearer {CONTOSO}", "Content-Type": "application/json"}
    body = json.dumps(imds_answer(current_document("0123456789"))).encode()
    answer = kept.service.request("POST", "/v1/attestations", body, headers=authorization)
    assert answer.code == "nonce-unknown"
    page = watched.page
    watched.expected.add(404)
    request_id = str(answer.json["requestId"])
    for _ in range(30):  # a worker writes the record within a second
        search(page, request_id, key=CONTOSO)
        expect(page.locator("#result > *").first).not_to_have_text("Searching…")
        if page.locator(".decision").count():
            break
        page.wait_for_timeout(100)
    expect(page.locator(".record")).to_contain_text("nonce-unknown")
    expect(page.locator(".decision")).to_contain_text("failed check nonce")


def test_hostile_values_stay_text(watched: Watched) -> None:
    page = watched.page
    search(page, HOSTILE_VM)
    expect(page.locator(".decision")).to_have_count(2)
    for summary in page.locator(".decision > summary").all():
        summary.press("Enter")
    while (buttons := page.get_by_role("button", name=re.compile("Show all .* characters"))).count():
        buttons.first.click()
    page.locator("#usage-tenant").fill("hostile")
    for by in ("plan", "sku"):
        page.get_by_label("Counted by").select_option(by)
        page.get_by_role("button", name="Count").click()
        expect(page.locator("#usage-result tbody tr")).to_have_count(1)
    assert page.locator("#result img, #result script, #usage-result img, #usage-result script").count() == 0
    shown = page.locator("main").inner_text()
    assert "<script>alert(2)</script>" in shown
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page.locator("main").inner_html()
    assert "\\u{202E}" in shown
    watched.assert_accessible()


def test_clusters_of_characters_are_not_wider_than_a_phone(watched: Watched) -> None:
    page = watched.page
    page.set_viewport_size(PHONE)
    search(page, CLUSTERS_VM)
    expect(page.locator(".decision")).to_have_count(len(CLUSTERS))
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    for summary in page.locator(".decision > summary").all():
        summary.press("Enter")
    expect(page.locator(".record .sentence")).to_have_count(len(CLUSTERS))
    while (buttons := page.get_by_role("button", name=re.compile("Show all .* characters"))).count():
        buttons.first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_copy_of_a_decision_has_no_hidden_characters_and_the_same_meaning(watched: Watched, kept: Kept) -> None:
    page = watched.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    search(page, "ef" * 16)
    page.get_by_role("button", name="Copy as JSON").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in copied
    path = f"/v1/decisions/{'ef' * 16}"
    answer = kept.service.request("GET", path, headers={"Authorization": f"Bearer {ADMIN}"}).json
    assert json.loads(copied) == answer
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" in str(answer["sku"])


def test_the_page_is_accessible_with_results_and_fits_a_phone(watched: Watched) -> None:
    page = watched.page
    watched.assert_accessible()
    search(page)
    page.locator("#filters > summary").click()
    page.locator(".decision > summary").nth(2).click()
    page.get_by_text("The numbers as a table").click()
    page.locator("#usage-tenant").fill("contoso")
    page.get_by_role("button", name="Count").click()
    expect(page.locator("#usage-result table")).to_be_visible()
    watched.assert_accessible()
