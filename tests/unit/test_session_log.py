"""The check of the suite's own log: that it finds what it looks for, and fails the run."""

import base64
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support import documents
from support.session_log import SessionLog

NONCE = "4711471147"
DER = documents.document()
TEXT = base64.b64encode(DER).decode()
CONTENT = documents.encode(documents.content(nonce="another", created_on=documents.NOW, vm=documents.VM)).decode()


def log_of(*lines: str) -> SessionLog:
    log = SessionLog(lines=list(lines))
    log.keep_nonce(NONCE)
    log.keep_document(DER)
    return log


@pytest.mark.parametrize(
    "line",
    [
        f'{{"event": "redeemed {NONCE}"}}',
        f"GET /v1/{NONCE}?x",
        json.dumps({"nonce": NONCE}),
        TEXT,
        json.dumps({"body": TEXT[801:840]}),
        TEXT[100:160].replace("+", "-").replace("/", "_"),
        DER.hex(),
        f"bytes {DER[500:560].hex()}",
        repr(DER),
        json.dumps({"body": DER.decode("latin-1")}),
        CONTENT,
        json.dumps({"body": CONTENT}),
        json.dumps(json.dumps({"body": CONTENT})),
    ],
    ids=range(13),
)
def test_finds_a_secret_however_it_is_written(line: str) -> None:
    assert len(log_of("first", line, "last").leaks()) == 1


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"requestId": "0" * 32, "code": "nonce-replayed", "time": "2026-11-23T08:00:00.123456Z"}),
        json.dumps({"number": f"{NONCE}0", "before": f"9{NONCE}"}),
        json.dumps({"signerSerial": f"{documents.shared_pki().signer.certificate.serial_number:x}"}),
        json.dumps({"documentSha256": "ab" * 32, "vmId": documents.VM.vm_id}),
    ],
    # Not by the values: the serial number is another one in each process of a run, which then cannot be compared.
    ids=["request", "longer numbers", "serial number", "digest"],
)
def test_leaves_alone_what_may_be_told(line: str) -> None:
    assert log_of(line).leaks() == []


def test_keeps_what_goes_over_http() -> None:
    log = SessionLog()
    log.keep_exchange("/v1/nonces", None, json.dumps({"nonce": NONCE}).encode())
    log.keep_exchange("/v1/attestations", json.dumps(documents.imds_answer(DER)).encode(), b"")
    log.keep_exchange("/v1/attestations", b"{}", b"")
    log.keep_exchange("/v1/attestations", b"no JSON", b"")
    log.keep_exchange("/metrics", None, b"nonce")
    assert (log.nonces, log.documents) == ({NONCE}, {DER})


@pytest.mark.parametrize("processes", [(), ("-p", "xdist.plugin", "--numprocesses=2")], ids=["one process", "several"])
@pytest.mark.parametrize(("told", "status"), [("a document", 0), (NONCE, 1)])
def test_a_run_that_logs_a_nonce_fails_though_its_tests_pass(
    tmp_path: Path, told: str, status: int, processes: tuple[str, ...]
) -> None:
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent(
            f"""
            import logging
            from support.session_log import SESSION_LOG

            def test_passes():
                SESSION_LOG.keep_nonce("{NONCE}")
                logging.getLogger("verifier").warning("appraised %s", "{told}")
            """
        ),
        "utf-8",
    )
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "support.session_log", "-p", "no:cacheprovider", *processes, "."],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join((str(Path(__file__).parents[1]), *sys.path)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == status
    assert ("LOG LEAK: a nonce" in ended.stdout) == bool(status)
