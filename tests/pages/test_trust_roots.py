"""trust_roots/README.md: its manifest loads, and its commands run on a trust directory and on the shipped one."""

import csv
import shlex
import shutil
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from support.command_line import call
from support.documents import der
from support.issuers import HOST, answer, internet
from support.live_documents import current_pki, write_current_trust
from support.page_blocks import ROOT, blocks_of, commands_of, run_commands

from verifier.adapters.aia import fetcher
from verifier.adapters.trust.files import load_directory
from verifier.core.trust.certificates import Certificate
from verifier.core.trust.clouds import Cloud
from verifier.emulator import pki

PAGE = "trust_roots/README.md"
RUNS_BLOCKS = {
    "trust_roots/README.md": {"The manifest": 1, "Add a certificate": 1, "Write entries": 1, "Check fingerprints": 2}
}
SHIPPED = ROOT / "trust_roots"
KNOWN = Path(".github", "trust-check-known.txt")
EXAMPLE = "roots/digicert-global-root-g2.pem"


def test_manifest_loads(tmp_path: Path) -> None:
    [manifest] = blocks_of(PAGE, "The manifest", "toml")
    (tmp_path / "manifest.toml").write_text(manifest.text, "utf-8")
    (tmp_path / "roots").mkdir()
    shutil.copy(SHIPPED / EXAMPLE, tmp_path / EXAMPLE)
    bundle = load_directory(tmp_path)
    [entry] = bundle.entries
    assert entry.clouds == bundle.clouds.keys() == {Cloud.PUBLIC}
    # The shipped manifest has the same source and fingerprint.
    shipped = tomllib.loads((SHIPPED / "manifest.toml").read_text("utf-8"))["certificates"]
    [listed] = [one for one in shipped if one["file"] == EXAMPLE]
    shown = tomllib.loads(manifest.text)["certificates"][0]
    assert all(shown[name] == listed[name] for name in ("sha256", "role", "source"))


def test_certificate_verifies_under_its_anchor(tmp_path: Path) -> None:
    write_current_trust(tmp_path / "trust_roots")
    command = commands_of(PAGE, "Add a certificate")
    script = command.replace("ROOT.pem", "root.pem").replace("NEW.pem", "issuing-ca.pem")
    printed = run_commands(script, directory=tmp_path, environment={})
    assert printed == "trust_roots/intermediates/issuing-ca.pem: OK\n"


def test_entry_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [block] = blocks_of(PAGE, "Write entries", "sh")
    validity = pki.Validity.around(datetime.now(UTC), timedelta(days=900))
    key, subject = pki.make_ec_key(ec.SECP256R1()), pki.make_name("New Issuing CA")
    made = pki.make_ca(issuer=current_pki().root, subject=subject, key=key, validity=validity)
    new = Certificate.from_der(der(made.certificate))
    trust = write_current_trust(tmp_path / "trust_roots")
    (tmp_path / KNOWN).parent.mkdir()
    shutil.copy(ROOT / KNOWN, tmp_path / KNOWN)
    row = f"| [New Issuing CA](http://{HOST}/new.crt) | 0x{new.serial_hex}<br>{new.sha1.upper()} |"
    (tmp_path / "page.html").write_text(f"| CA | Serial |\n{row}\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    settings = {"VERIFIER_NONCE_STORE": f"sqlite://{tmp_path}/nonces.sqlite3", "VERIFIER_TRUST_DIR": str(trust)}
    assert call("trust", "list", "--create", environment=settings).status == 0
    with internet() as net, mock.patch.object(fetcher, "AiaFetcher", net.fetcher):
        net.plays["/new.crt"] = answer(new.der)
        ended = call(*shlex.split(block.commands)[1:], environment=settings)
    # The pins in force are those from before, so the CA is a finding too.
    assert ended.status == 1, ended
    assert "added intermediates/new-issuing-ca-" in ended.out
    assert new.sha256 in {entry.certificate.sha256 for entry in load_directory(trust).entries}


def test_fingerprints_are_those_of_the_record() -> None:
    printed = run_commands(commands_of(PAGE, "Check fingerprints"), directory=ROOT, environment={})
    with (SHIPPED / "PROVENANCE.tsv").open(encoding="utf-8", newline="") as record:
        [row] = [row for row in csv.DictReader(record, delimiter="\t") if row["file"] == Path(EXAMPLE).name]
    *told, sha256, spki_sha256 = printed.splitlines()
    assert [sha256.split()[-1], spki_sha256.split()[-1]] == [row["sha256"], row["spki_sha256"]]
    assert row["sha1"].upper() in "".join(told).replace(":", "")


def test_another_certificate_than_that_of_the_manifest_is_printed(tmp_path: Path) -> None:
    script = commands_of(PAGE, "Check fingerprints", 1)
    assert run_commands(script, directory=SHIPPED, environment={}) == ""
    trust = write_current_trust(tmp_path / "trust")
    shutil.copy(trust / "roots" / "root.pem", trust / "intermediates" / "issuing-ca.pem")
    [line] = run_commands(script, directory=trust, environment={}).splitlines()
    assert line.startswith("intermediates/issuing-ca.pem: expected ")
