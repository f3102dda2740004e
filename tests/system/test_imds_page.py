"""The commands of Azure's page work against the emulator, with the real curl, jq and openssl."""

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from support.session_log import SESSION_LOG

from verifier.emulator.controls import Conditions
from verifier.emulator.scenarios import ChainChoice
from verifier.emulator.server import RunningEmulator, loopback_emulator
from verifier.emulator.virtual_machines import read_virtual_machine

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "tests" / "data" / "imds-page"
IMDS = "http://169.254.169.254"
CALLS: list[dict[str, str]] = tomllib.loads((PAGE / "calls.toml").read_text("utf-8"))["calls"]
SAMPLE = ROOT / "tests" / "data" / "samples" / "public-eastus-2026-07-28.json"
_SECONDS = 60

_POWERSHELL = re.compile(
    r"Invoke-RestMethod -Headers @\{\"(?P<header>\w+)\"=\"(?P<value>\w+)\"\} -Method (?P<method>\w+) -Proxy \$Null "
    r"-Uri \"?(?P<uri>[^\s\"]+)"
)
#: Sample 4 has it at 2020-09-01, and the table of the page only since 2020-10-01. The emulator follows the table.
CONTRADICTED = {"osProfile.disablePasswordAuthentication"}


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """Fail if a program that the page uses is not installed."""
    missing = [tool for tool in ("sh", "curl", "jq", "openssl", "base64", "awk") if shutil.which(tool) is None]
    if missing:
        pytest.fail(f"install {', '.join(missing)}: the tests run the commands of Azure's page")


@pytest.fixture(scope="module")
def running() -> Iterator[RunningEmulator]:
    with loopback_emulator(
        read_virtual_machine(ROOT / "examples" / "emulator" / "public-marketplace.toml")
    ) as emulator:
        yield emulator


@pytest.fixture
def emulator(running: RunningEmulator) -> RunningEmulator:
    running.reset()
    return running


def run_shell(lines: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run the lines in a shell, up to the first one that fails."""
    return subprocess.run(
        ["sh", "-e", "-c", lines],  # noqa: S607 - the shell of this machine
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )


def paths(tree: object, at: str = "") -> set[str]:
    """Return the paths of all leaves, with `[]` for each index."""
    if isinstance(tree, dict):
        return {path for name, member in tree.items() for path in paths(member, f"{at}.{name}" if at else name)} or {at}
    if isinstance(tree, list):
        return {path for member in tree for path in paths(member, f"{at}[]")} or {at}
    assert isinstance(tree, str)
    return {at}


def check_answer(call: Mapping[str, str], answer: str) -> None:
    """Compare with the answer on the page, if it shows one. In JSON, every element of the page must exist."""
    if "text" in call:
        assert answer == call["text"]
    elif "json" in call:
        shown = json.loads((PAGE / call["json"]).read_bytes())
        assert paths(shown) - paths(json.loads(answer)) <= CONTRADICTED
    else:
        assert answer


@pytest.mark.parametrize("call", [call for call in CALLS if "linux" in call], ids=lambda call: call["section"])
def test_curl_command_of_the_page_works(emulator: RunningEmulator, call: Mapping[str, str], tmp_path: Path) -> None:
    result = run_shell(call["linux"].replace(IMDS, emulator.url), tmp_path)

    assert result.returncode == 0, result.stderr
    check_answer(call, result.stdout)


@pytest.mark.parametrize("call", [call for call in CALLS if "windows" in call], ids=lambda call: call["section"])
def test_request_of_the_powershell_command_of_the_page_works(
    emulator: RunningEmulator, call: Mapping[str, str]
) -> None:
    """Send the same request. The tests cannot install PowerShell, because no registry has it."""
    line = _POWERSHELL.search(call["windows"])
    assert line is not None
    parts = urlsplit(emulator.url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        connection.request(line["method"], line["uri"].removeprefix(IMDS), headers={line["header"]: line["value"]})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    SESSION_LOG.keep_exchange(line["uri"], None, body)

    assert answer.status == 200, body
    check_answer(call, body.decode("utf-8"))


def test_both_tabs_of_a_sample_send_the_same_request() -> None:
    for call in CALLS:
        if "linux" in call and "windows" in call:
            asked = _POWERSHELL.search(call["windows"])
            assert asked is not None
            assert f'"{asked["uri"]}"' in call["linux"]


def test_tags_list_equals_the_sample(emulator: RunningEmulator, tmp_path: Path) -> None:
    (call,) = [call for call in CALLS if call.get("json") == "sample-3-tags-list.json"]
    answer = run_shell(call["linux"].replace(IMDS, emulator.url), tmp_path).stdout
    assert json.loads(answer) == json.loads((PAGE / call["json"]).read_bytes())


@pytest.fixture
def substituted(emulator: RunningEmulator, tmp_path: Path) -> Callable[[str], str]:
    """Return a script of the page with the address and the root of the emulator."""
    root = next(one for one in emulator.controls.authorities.trusted if one.name == "emulator-root")
    (tmp_path / "root.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))

    def substitute(name: str) -> str:
        script = (PAGE / name).read_text("utf-8").replace(IMDS, emulator.url)
        return script.replace("/etc/ssl/certs/Baltimore_CyberTrust_Root.pem", str(tmp_path / "root.pem"))

    return substitute


def one_url(emulator: RunningEmulator) -> Conditions:
    """Give signers one issuer URL, as when the page was written. It leads to the emulator."""
    return Conditions(chain=ChainChoice(issuer_urls=(f"{emulator.url}/emulator/issuers/emulator-issuing-ca.crt",)))


def test_openssl_commands_of_the_page_verify_a_document(
    emulator: RunningEmulator, substituted: Callable[[str], str], tmp_path: Path
) -> None:
    emulator.put(one_url(emulator))

    validated = run_shell(substituted("sample-1-validate.sh"), tmp_path)

    assert validated.returncode == 0, validated.stderr
    assert "Verification successful" in validated.stderr
    content = json.loads(validated.stdout)
    assert content["vmId"] == emulator.vm.vm_id
    assert set(content) == {"licenseType", "nonce", "plan", "sku", "subscriptionId", "timeStamp", "vmId"}

    chained = run_shell(substituted("sample-1-chain.sh"), tmp_path)

    assert chained.returncode == 0, chained.stderr
    subject, issuer, issuer_subject, issuer_issuer, verdict = chained.stdout.splitlines()
    assert subject.endswith(("CN = metadata.azure.com", "CN=metadata.azure.com"))
    assert issuer.removeprefix("issuer=") == issuer_subject.removeprefix("subject=")
    assert "Emulator Root" in issuer_issuer
    assert verdict == "signer.pem: OK"


def test_openssl_commands_of_the_page_reject_a_changed_document(
    emulator: RunningEmulator, substituted: Callable[[str], str], tmp_path: Path
) -> None:
    emulator.put(one_url(emulator))
    change = "LC_ALL=C sed -i s/contoso-appliance/CONTOSO-appliance/ decodedsignature"
    script = substituted("sample-1-validate.sh").replace("# Get PKCS7 format", change)
    assert change in script

    validated = run_shell(script, tmp_path)

    assert validated.returncode != 0
    assert "Verification failure" in validated.stderr


def test_commands_of_the_page_fail_with_two_issuer_urls_as_on_a_real_document(
    substituted: Callable[[str], str], tmp_path: Path
) -> None:
    """The page passes both URLs to curl in one argument, and curl exits with 3 (malformed URL) before it connects."""
    emulated, real = tmp_path / "emulated", tmp_path / "real"
    emulated.mkdir()
    real.mkdir()
    script = substituted("sample-1-validate.sh")
    call = next(line for line in script.splitlines() if line.startswith("curl --silent"))

    assert run_shell(script, emulated).returncode == 3
    on_sample = script.replace(call, f"jq -r '.[\"signature\"]' {SAMPLE} > signature")
    assert on_sample != script
    assert run_shell(on_sample, real).returncode == 3
    # The commands that do not need the issuer work on both.
    for directory in (emulated, real):
        verified = run_shell("openssl smime -verify -in sign.pk7 -inform pem -noverify", directory)
        assert "Verification successful" in verified.stderr
