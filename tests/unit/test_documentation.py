"""The documentation says what the code does: its links lead somewhere, its examples run, its tables are complete."""

import argparse
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, takewhile
from pathlib import Path
from types import ModuleType

import pytest
from support import documents
from support.applications import make_application
from support.feeds import feed_of
from support.scripts import load_script
from support.trust_operations import make_operations, new_authority, read

from verifier.adapters.settings.policies import PolicyTable
from verifier.adapters.settings.secret_files import SUFFIX
from verifier.adapters.settings.settings import (
    CONFIG_VARIABLE,
    PREFIX,
    RELOADABLE,
    Settings,
    secret_settings,
)
from verifier.adapters.telemetry.metrics import Metrics, MetricsRecorder
from verifier.adapters.telemetry.trust_metrics import TrustCollector
from verifier.adapters.trust.published import read_bundle
from verifier.api import json_codec, problem_codec, trust_json_codec
from verifier.api.authentication import Callers
from verifier.api.json_codec import Json
from verifier.api.problems import DOCUMENTATION
from verifier.api.routes import create_metrics_blueprint
from verifier.api.trust_routes import create_trust_blueprint
from verifier.core.bounds import MAX_EVIDENCE_BYTES
from verifier.core.discovery import DiscoveryMode
from verifier.core.issuer_review import ReviewStatus
from verifier.core.model import AttestationResult, Limits
from verifier.core.reasons import NonceRefused, Reason
from verifier.core.trust.bundle import Denials, Origin, State, TrustBundle
from verifier.core.trust.clouds import Cloud
from verifier.usecases.appraise import IssuedNonce
from verifier.usecases.archive import ArchiveVerifier
from verifier.usecases.chain_cache import ChainCache
from verifier.usecases.trust_administration import TrustAdministration
from verifier.usecases.trust_survey import survey_trust
from verifier.wiring import COMMANDS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
SETTINGS = ROOT / "docs" / "operate" / "settings.md"
HANDBOOK = ROOT / "docs" / "operate" / "ca-rotation.md"
SAMPLE = ROOT / "tests" / "data" / "samples" / "public-eastus-2026-07-28.json"
DECISIONS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("README.md"),
        ROOT / "trust_roots" / "README.md",
    ],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)

#: Folders whose comments, messages and helps name pages.
SOURCES = ("verifier", "tools", "bench", "helm", "ops", "examples", "clients", ".github", "trust_roots")

_PAGE_NAME = re.compile(r"\bdocs/[\w./-]+\.(?:md|svg)\b")
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(?P<title>.+?) *$", re.MULTILINE)
_SETTING_ROW = re.compile(r"^\| `(?P<name>[A-Z0-9_]+)` \| (?P<default>[^|]+) \|", re.MULTILINE)
_METRIC_ROW = re.compile(r"^\| `(verifier_[a-z_]+)` \|", re.MULTILINE)
_ASSIGNMENT = re.compile(r"[A-Z_]+=")


def blocks(page: Path, language: str) -> list[str]:
    return [block["text"] for block in _FENCE.finditer(page.read_text("utf-8")) if block["language"] == language]


def links(page: Path) -> list[str]:
    return [link["target"] for link in _LINK.finditer(_FENCE.sub("", page.read_text("utf-8")))]


def anchors(page: Path) -> set[str]:
    """The fragments that headings get where Markdown is shown with links to them."""
    titles = [heading["title"] for heading in _HEADING.finditer(_FENCE.sub("", page.read_text("utf-8")))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands() -> Iterator[list[str]]:
    """Every line of a shell example that runs our command, as words, without comments."""
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = list(takewhile(lambda word: word not in {">", "&", "|"}, shlex.split(line, comments=True)))
                if any(word.rpartition("/")[2] == "imds-verifier" for word in words):
                    yield words[words.index("--") + 1 :] if words[0] == "kubectl" else words


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*(f"{PREFIX}{field.upper()}" for field in Settings.model_fields), CONFIG_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return load_script("tools/generate_reasons.py")


@pytest.fixture(scope="module")
def result() -> AttestationResult:
    class SharedTrust:
        def bundle(self) -> TrustBundle:
            return documents.shared_bundle()

    return ArchiveVerifier(trust=SharedTrust()).appraise(documents.raw(documents.document()), at=documents.NOW)


@pytest.fixture
def administration(tmp_path: Path) -> TrustAdministration:
    """With one of each: a pin, a denial, an event, a discovered issuer and its authority."""
    operations = make_operations(tmp_path)
    made = operations.administration
    operations.discover(new_authority())
    made.pin(read(new_authority("Other Issuing CA")), frozenset({Cloud.PUBLIC}), by="somebody")
    made.deny(Denials(spki_sha256=frozenset({read(new_authority()).spki_sha256})), by="somebody")
    return made


@pytest.fixture
def survey(administration: TrustAdministration) -> Json:
    return trust_json_codec.survey_json(survey_trust(administration, feed_of(administration), at=documents.NOW))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_to_a_file_leads_to_one_and_to_a_heading_of_it(page: Path) -> None:
    lost = []
    for target in links(page):
        if target.startswith("https://"):
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (fragment and fragment not in anchors(found)):
            lost.append(target)

    assert lost == []


def test_sources_name_pages_that_exist() -> None:
    files = (
        file for name in SOURCES for file in (ROOT / name).rglob("*") if file.suffix in {".py", ".sh", ".yaml", ".yml"}
    )
    named = {path for file in files for path in _PAGE_NAME.findall(file.read_text("utf-8"))}

    assert len(named) > 15
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached = {README}
    waiting = [README]
    while waiting:
        page = waiting.pop()
        for target in links(page):
            found = (page.parent / target.partition("#")[0]).resolve()
            if found.suffix == ".md" and found.exists() and found not in reached:
                reached.add(found)
                waiting.append(found)

    assert [name_of(page) for page in PAGES if page not in reached] == []


def test_the_example_policies_name_every_key_that_there_is() -> None:
    page = ROOT / "docs" / "integrate" / "policies.md"
    text = "\n".join(blocks(README, "toml") + blocks(page, "toml"))
    keys = {field.alias or name for name, field in PolicyTable.model_fields.items()}

    assert [key for key in sorted(keys) if f"\n{key} = " not in text] == []


@pytest.mark.parametrize("words", list(commands()), ids=shlex.join)
def test_the_command_lines_are_ones_that_the_command_takes(words: list[str]) -> None:
    settings = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | {CONFIG_VARIABLE}
    while _ASSIGNMENT.match(words[0]):
        assert words.pop(0).partition("=")[0] in settings
    _, name, *arguments = words
    [command] = [command for command in COMMANDS if command.name == name]
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.load().configure(parser)

    parser.parse_args(arguments)


def test_the_settings_table_has_every_setting_with_its_default() -> None:
    rows = {row["name"]: row["default"].strip() for row in _SETTING_ROW.finditer(SETTINGS.read_text("utf-8"))}

    assert list(rows) == [f"{PREFIX}{name.upper()}" for name in Settings.model_fields]
    for name, field in Settings.model_fields.items():
        if isinstance(field.default, bool | int | float | str):
            assert rows[f"{PREFIX}{name.upper()}"] == f"`{str(field.default).lower()}`"


def test_the_result_in_the_readme_has_the_shape_of_a_result(result: AttestationResult) -> None:
    shown = json.loads(blocks(README, "json")[0])
    made = json.loads(json.dumps(json_codec.result_json(result)))

    assert list(shown) == list(made)
    for name in ("claims", "signer"):
        assert list(shown[name]) == list(made[name])
    assert list(shown["claims"]["plan"]) == list(made["claims"]["plan"])
    assert [list(link) for link in shown["chain"]] == [list(link) for link in made["chain"]]
    assert [check["name"] for check in shown["checks"]] == [check["name"] for check in made["checks"]]


def test_the_refusal_in_the_readme_has_the_shape_of_a_refusal() -> None:
    shown = json.loads(blocks(README, "json")[1])
    refused = NonceRefused(Reason.NONCE_REPLAYED, shown["detail"], retry_after=documents.NOW - documents.NOW)
    made = problem_codec.refusal_json(refused, request_id=shown["requestId"])

    assert list(shown) == list(made)
    assert shown == {**made, "retryAfterSeconds": shown["retryAfterSeconds"]}


def test_the_page_on_rotation_explains_every_mode_of_discovery() -> None:
    text = HANDBOOK.read_text("utf-8")

    assert [mode.value for mode in DiscoveryMode if f"| `{mode.value}` | " not in text] == []


def test_the_http_page_explains_every_field(result: AttestationResult) -> None:
    text = (ROOT / "docs" / "integrate" / "http.md").read_text("utf-8")
    problem = problem_codec.refusal_json(
        NonceRefused(Reason.NONCE_UNKNOWN, "", retry_after=documents.NOW - documents.NOW)
    )
    nonce = json_codec.nonce_json(IssuedNonce(nonce="", issued_at=documents.NOW, expires_at=documents.NOW))
    asked = (*json_codec.NonceRequest.model_fields, *json_codec.AttestationRequest.model_fields)
    claims = [f"claims.{name}" for name in json_codec.claims_json(result.claims)]
    signed = json_codec.result_json(result, token="a.b.c")  # noqa: S106 - a result token, and of the wrong shape
    fields = {*signed, *claims, *problem, *nonce, *asked}

    assert [field for field in sorted(fields) if f"`{field}`" not in text] == []


def keys_of(told: object) -> Iterator[str]:
    """Every name in it, however deep."""
    if isinstance(told, dict):
        for name, value in told.items():
            yield name
            yield from keys_of(value)
    elif isinstance(told, list):
        for value in told:
            yield from keys_of(value)


def test_the_http_page_explains_every_field_of_trust(survey: Json) -> None:
    text = (ROOT / "docs" / "integrate" / "http.md").read_text("utf-8")
    fields = {*keys_of(survey), *trust_json_codec.PinRequest.model_fields}
    words = [value for kind in (State, ReviewStatus, Origin) for value in kind]

    assert {"horizon", "spkiSha256", "sampleSigner", "kind", "before"} <= fields  # there is one of each
    assert [name for name in sorted({*fields, *words}) if f"`{name}`" not in text] == []


def test_the_http_page_lists_every_path(administration: TrustAdministration, tmp_path: Path) -> None:
    text = (ROOT / "docs" / "integrate" / "http.md").read_text("utf-8")
    application = make_application(tmp_path)
    application.flask.register_blueprint(
        create_trust_blueprint(
            administration,
            feed_of(administration),
            Callers,
            application.clock,
            maximum_body_bytes=MAX_EVIDENCE_BYTES,
        )
    )
    application.flask.register_blueprint(create_metrics_blueprint(lambda: (b"", "text/plain")))
    paths = {
        f"{method} {rule.rule}"
        for rule in application.flask.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }

    assert "GET /metrics" in paths
    assert [path for path in sorted(paths) if f"| `{path}` |" not in text] == []


def test_the_page_of_metrics_lists_every_metric(administration: TrustAdministration, tmp_path: Path) -> None:
    recorder = MetricsRecorder()
    operations = make_operations(tmp_path)
    metrics = Metrics(
        recorder=recorder,
        trust=TrustCollector(
            trust=administration, registry=operations.registry, clock=operations.clock, read_feed=read_bundle
        ),
        chains=ChainCache(),
        version="",
    )
    told = metrics.render()[0].decode()
    names = [line.split()[2] for line in told.splitlines() if line.startswith("# TYPE ") and "_created" not in line]
    rows = _METRIC_ROW.findall((ROOT / "docs" / "operate" / "metrics.md").read_text("utf-8"))

    assert sorted(rows) == sorted(names)


def test_the_alerts_name_every_status_of_an_issuer_that_waits_for_a_decision() -> None:
    alerts = (ROOT / "ops" / "prometheus-rules.yaml").read_text("utf-8")
    [waiting] = set(re.findall(r'review_status=~"([a-z|]+)"', alerts))

    assert set(waiting.split("|")) == {status.value for status in ReviewStatus if status.is_open}


def test_the_archive_page_shows_what_the_command_prints() -> None:
    page = ROOT / "docs" / "integrate" / "library.md"
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "verifier", "verify", str(SAMPLE), "--at", "2026-07-28T13:24:00Z"],
        check=True,
        capture_output=True,
        text=True,
    )
    [shown] = blocks(page, "text")
    printed = ran.stdout.splitlines()

    assert len(shown.splitlines()) == len(printed)
    assert [line for line in shown.splitlines() if "…" not in line and line not in printed] == []


def test_the_reasons_page_is_the_generated_one(generator: ModuleType) -> None:
    assert (ROOT / "docs" / "integrate" / "reasons.md").read_text("utf-8") == generator.generate()


def test_every_reason_is_raised_at_a_check_and_every_code_has_its_entry(generator: ModuleType) -> None:
    assert {place.reason for place in generator.raised_refusals()} == set(Reason)
    assert {code.value for code in DOCUMENTATION} <= anchors(ROOT / "docs" / "integrate" / "reasons.md")


def test_every_reason_leaves_the_drawing_and_is_in_the_table_beside_it() -> None:
    drawing = (ROOT / "docs" / "images" / "trust-progression.svg").read_text("utf-8")
    page = (ROOT / "docs" / "understand" / "how-a-document-is-judged.md").read_text("utf-8")

    assert [reason.value for reason in Reason if f">{reason.value}<" not in drawing] == []
    assert [reason.value for reason in Reason if f"`{reason.value}`" not in page] == []


def test_every_decision_is_dated_and_in_the_index_in_order() -> None:
    index = [target for target in links(ROOT / "docs" / "adr" / "README.md") if re.match(r"\d", target)]

    assert index == [decision.name for decision in DECISIONS]
    for number, decision in enumerate(DECISIONS, start=1):
        title, _, status, date, *_ = decision.read_text("utf-8").splitlines()
        assert title.startswith(f"# {number:04}: ")
        assert status.startswith("- Status: ")
        assert datetime.fromisoformat(date.removeprefix("- Date: ")) < datetime.now(UTC).replace(tzinfo=None)


def test_the_record_of_dependencies_names_each_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    declared = {*project["project"]["dependencies"], *chain(*project["dependency-groups"].values())}
    text = (ROOT / "docs" / "adr" / "0002-dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\| ([a-z][a-z0-9-]+) \|", text, re.MULTILINE)

    assert {*rows} - {"runtime", "development"} == {re.split(r"[^a-z0-9-]", name)[0] for name in declared}


def test_the_http_page_shows_each_condition_of_readiness(tmp_path: Path) -> None:
    page = ROOT / "docs" / "integrate" / "http.md"
    made = make_application(tmp_path).flask.test_client().get("/readyz").get_json()
    [shown] = [json.loads(block) for block in blocks(page, "json") if "conditions" in block]

    assert list(shown) == sorted(made, reverse=True)
    assert [condition["name"] for condition in shown["conditions"]] == [told["name"] for told in made["conditions"]]
    assert [told["name"] for told in made["conditions"] if f"`{told['name']}`: " not in page.read_text("utf-8")] == []


def test_the_operations_page_names_each_setting_that_is_followed_and_each_that_a_file_can_hold() -> None:
    operations = (ROOT / "docs" / "operate" / "install.md").read_text("utf-8")

    assert [name for name in sorted(RELOADABLE) if f"`{name}`" not in operations] == []
    assert [name for name in secret_settings() if f"`{PREFIX}{name.upper()}{SUFFIX}`" not in operations] == []


def test_the_time_that_a_nonce_is_remembered_is_the_documented_one() -> None:
    unused, used = Limits().unused_nonce_memory, Limits().used_nonce_memory
    for document in ("operate/redis.md", "adr/0033-forget-unused-nonces.md"):
        text = (ROOT / "docs" / document).read_text("utf-8")
        for memory in (unused, used):
            assert f"{memory.total_seconds():,.0f} s" in text, document
