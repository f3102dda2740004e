"""The command serves on loopback, prints its address, and stops on a signal."""

import argparse
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import pytest
from asn1crypto import cms as asn1_cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from verifier.emulator.command import configure, run
from verifier.emulator.pki import Pki, make_pki

EXAMPLES = Path(__file__).parents[3] / "examples" / "emulator"
PROGRAM = """
import argparse, sys
from verifier.emulator.command import configure, run
parser = argparse.ArgumentParser()
configure(parser)
sys.exit(run(parser.parse_args()))
"""


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args(arguments)


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the emulator in a process, and yield the line that it prints when it is ready."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    ) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline()
        finally:
            process.kill()


def get(line: str, path: str) -> tuple[int, bytes]:
    host, _, port = line.strip().removeprefix("emulator: listening on http://").rpartition(":")
    connection = HTTPConnection(host.strip("[]"), int(port), timeout=10)
    try:
        connection.request("GET", path, headers={"Metadata": "true"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_emulator_serves_until_it_receives_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with started("--trust-dir", str(tmp_path / "trust"), "--vm-id", "vm-1", "--plan", "gold") as (process, line):
        status, body = get(line, "/metadata/attested/document?api-version=2020-09-01&nonce=4711")
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert process.returncode == 0
    assert line.startswith("emulator: listening on http://127.0.0.1:")
    assert (rest, errors) == ("", ""), "no further output, because it could contain a nonce"
    assert status == 200
    signed_data = asn1_cms.ContentInfo.load(base64.b64decode(json.loads(body)["signature"]))["content"]
    fields = json.loads(signed_data["encap_content_info"]["content"].native)
    assert (fields["vmId"], fields["nonce"], fields["plan"]["name"]) == ("vm-1", "4711", "gold")
    # The signer chains to the trust directory.
    (signer,) = signed_data["certificates"]
    (issuer,) = x509.load_pem_x509_certificates(
        (tmp_path / "trust" / "intermediates" / "emulator-issuing-ca.pem").read_bytes()
    )
    x509.load_der_x509_certificate(signer.dump()).verify_directly_issued_by(issuer)


def test_trust_directory_is_complete_when_the_emulator_listens(tmp_path: Path) -> None:
    directory = tmp_path / "trust"
    with started("--trust-dir", str(directory)):
        manifest = tomllib.loads((directory / "manifest.toml").read_text(encoding="utf-8"))
    for entry in manifest["certificates"]:
        (certificate,) = x509.load_pem_x509_certificates((directory / entry["file"]).read_bytes())
        assert certificate.fingerprint(hashes.SHA256()).hex() == entry["sha256"]


@pytest.mark.parametrize("host", ["::1", "::ffff:127.0.0.1"])
def test_loopback_of_ipv6_is_accepted(tmp_path: Path, host: str) -> None:
    with started("--trust-dir", str(tmp_path / "trust"), "--host", host):
        assert (tmp_path / "trust" / "manifest.toml").exists()


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.0.2.1", "169.254.169.254", "::ffff:192.0.2.1"],  # noqa: S104 - refused
)
def test_host_other_than_loopback_is_refused(tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse("--trust-dir", str(tmp_path / "trust"), "--host", host, "--port", "0")) == 2
    assert f"--host {host} is not a loopback address" in capsys.readouterr().err
    assert not (tmp_path / "trust").exists()


@pytest.mark.parametrize("region", ["Zürich", "*", "a..b", "", "a" * 64])
def test_region_that_no_signer_name_can_contain_is_refused(
    tmp_path: Path, region: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parse("--trust-dir", str(tmp_path / "trust"), "--region", region, "--port", "0")) == 2
    assert capsys.readouterr().err.startswith("emulator: --region must be 1 to 63 ASCII letters, digits and hyphens")
    assert not (tmp_path / "trust").exists()


@pytest.mark.parametrize("option", ["vm-id", "subscription-id", "publisher", "plan", "sku", "license-type"])
def test_argument_that_is_not_text_is_refused(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Python decodes such a byte of an argument to a surrogate."""
    assert run(parse("--trust-dir", str(tmp_path / "trust"), f"--{option}", "\udcff", "--port", "0")) == 2
    assert capsys.readouterr().err == f"emulator: --{option} has bytes that are not text\n"


def test_text_of_arguments_and_files_cannot_control_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "\x1b[31m\nvm.json"
    file.write_text('{"compute": {"\\u001b[2J\\n": "x"}}', encoding="utf-8")
    assert run(parse("--trust-dir", str(tmp_path / "trust"), "--vm", str(file))) == 2
    written = capsys.readouterr().err
    assert "\\x1b[31m\\nvm.json: dropped compute.\\x1b[2J\\n, which the emulator does not know" in written
    assert all(line.startswith("emulator: ") and line.isprintable() for line in written.splitlines())


def test_allow_open_listening_allows_another_host(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # This machine does not have an address of TEST-NET-1 (RFC 5737), so the attempt to listen must fail.
    arguments = ("--trust-dir", str(tmp_path / "trust"), "--host", "192.0.2.1", "--allow-open-listening")
    assert run(parse(*arguments)) == 2
    assert "cannot listen on 192.0.2.1 port 8254" in capsys.readouterr().err


def signer_of(body: bytes) -> x509.Certificate:
    signed_data = asn1_cms.ContentInfo.load(base64.b64decode(json.loads(body)["signature"]))["content"]
    (signer,) = signed_data["certificates"]
    return x509.load_der_x509_certificate(signer.dump())


def write_authority(directory: Path, pki: Pki) -> Path:
    directory.mkdir()
    (directory / "tls.crt").write_bytes(pki.root.certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "tls.key").write_bytes(
        pki.root.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return directory


def test_authority_from_files_signs_for_several_emulators(tmp_path: Path) -> None:
    made = make_pki(now=datetime.now(UTC))
    authority = str(write_authority(tmp_path / "ca", made))
    signers = []
    for arguments in ((), ("--trust-dir", str(tmp_path / "trust"))):
        with started("--authority", authority, *arguments) as (_, line):
            signers.append(signer_of(get(line, "/metadata/attested/document?api-version=2020-09-01")[1]))
    assert signers[0] != signers[1]
    for signer in signers:
        signer.verify_directly_issued_by(made.root.certificate)
    manifest = tomllib.loads((tmp_path / "trust" / "manifest.toml").read_text(encoding="utf-8"))
    (entry,) = manifest["certificates"]
    assert (entry["role"], entry["sha256"]) == ("root", made.root.certificate.fingerprint(hashes.SHA256()).hex())


def test_unusable_authority_ends_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse("--authority", str(tmp_path), "--port", "0")) == 2
    assert capsys.readouterr().err == f"emulator: {tmp_path}/tls.crt: No such file or directory\n"


def test_trust_dir_is_required_without_authority(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse("--port", "0")) == 2
    assert "--trust-dir is required without --authority" in capsys.readouterr().err


def test_host_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parse("--trust-dir", str(tmp_path / "trust"), "--host", "localhost")) == 2
    assert "--host localhost is not an IP address" in capsys.readouterr().err


def test_port_in_use_ends_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert run(parse("--trust-dir", str(tmp_path / "trust"), "--port", port)) == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err
    assert not (tmp_path / "trust").exists()


def test_directory_with_other_files_is_not_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").touch()
    assert run(parse("--trust-dir", str(tmp_path), "--port", "0")) == 2
    assert "no emulator wrote" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [("--vm-id", ""), ("--region", ""), ("--region", "ö")])
def test_invalid_machine_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parse("--trust-dir", str(tmp_path / "trust"), "--port", "0", *arguments)) == 2
    assert capsys.readouterr().err.startswith("emulator: ")


@pytest.mark.parametrize(
    "arguments", [("--unknown",), ("--trust-dir", "x", "--port", "65536"), ("--trust-dir", "x", "--port", "a")]
)
def test_invalid_arguments_exit_with_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(*arguments)
    assert ended.value.code == 2


def test_machine_from_a_file_with_a_clock_offset(tmp_path: Path) -> None:
    file = EXAMPLES / "government.toml"
    with started("--trust-dir", str(tmp_path / "trust"), "--vm", str(file), "--clock-offset", "-86400") as (_, line):
        status, body = get(line, "/metadata/attested/document?api-version=2020-09-01")
        environment = get(line, "/metadata/instance/compute/azEnvironment?api-version=2020-09-01&format=text")
    assert status == 200
    assert environment == (200, b"AzureUSGovernmentCloud")
    assert "metadata.azure.us" in signer_of(body).subject.rfc4514_string()
    signed_data = asn1_cms.ContentInfo.load(base64.b64decode(json.loads(body)["signature"]))["content"]
    created_on = json.loads(signed_data["encap_content_info"]["content"].native)["timeStamp"]["createdOn"]
    age = datetime.now(UTC) - datetime.strptime(created_on, "%m/%d/%y %H:%M:%S %z")
    assert timedelta(days=1) <= age < timedelta(days=1, minutes=5)
    manifest = tomllib.loads((tmp_path / "trust" / "manifest.toml").read_text(encoding="utf-8"))
    assert manifest["clouds"].keys() == {"AzureUSGovernmentCloud"}


@pytest.mark.parametrize("option", ["--vm-id", "--region", "--plan", "--license-type"])
def test_machine_option_conflicts_with_a_machine_file(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--trust-dir", str(tmp_path / "trust"), "--vm", str(EXAMPLES / "china.toml"), option, "x")
    assert run(parse(*arguments)) == 2
    assert capsys.readouterr().err == f"emulator: {option} cannot be combined with --vm: set it in the file\n"


def test_invalid_machine_file_ends_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "vm.toml"
    file.write_text('[compute]\nvmid = "x"\n', encoding="utf-8")
    assert run(parse("--trust-dir", str(tmp_path / "trust"), "--vm", str(file))) == 2
    assert capsys.readouterr().err == f"emulator: {file}: unknown key compute.vmid\n"


def test_recorded_answer_is_read_with_a_note_for_each_dropped_element(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "vm.json"
    file.write_text('{"compute": {"vmId": "v", "location": "eastus", "tags": "", "x": "y"}}', encoding="utf-8")
    # The machine is read first, so this host that is refused ends the command afterwards.
    assert run(parse("--trust-dir", str(tmp_path / "trust"), "--vm", str(file), "--host", "192.0.2.1")) == 2
    notes = capsys.readouterr().err.splitlines()[:-1]
    assert notes == [
        f"emulator: note: {file}: compute.azEnvironment is missing: the cloud is AzurePublicCloud",
        f"emulator: note: {file}: dropped compute.tags, which follows from compute.tagsList",
        f"emulator: note: {file}: dropped compute.x, which the emulator does not know",
    ]


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300", "soon"])
def test_invalid_clock_offset_is_refused(seconds: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("--trust-dir", "x", "--clock-offset", seconds)
    assert ended.value.code == 2


def test_clock_offset_has_a_maximum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--trust-dir", str(tmp_path / "trust"), "--port", "0", "--clock-offset", "1e9")
    assert run(parse(*arguments)) == 2
    assert "at most 3650 days" in capsys.readouterr().err


def test_default_address_is_loopback() -> None:
    arguments = parse("--trust-dir", "x")
    assert (arguments.host, arguments.port) == ("127.0.0.1", 8254)
