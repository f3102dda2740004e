"""A worker's first requests come all at once, and nothing that is set up when it is first used is used half set up."""

import hashlib
import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from support.documents import VM, imds_answer
from support.live_documents import current_document

TENANT, ADMIN = "tenant-key-of-the-first", "admin-key-of-the-first"
DOCUMENTS = 8

# The service as it is wired, in a process that has served nothing, whose threads change places often.
_FIRST_REQUESTS = """
import json, sys, threading
from collections import Counter
from verifier.adapters.telemetry.metrics import MetricsRecorder
from verifier.adapters.telemetry.shared_values import shared_values
from verifier.adapters.settings.settings import load_settings
from verifier.adapters.telemetry.log import configure_logging
from verifier.startup import start_up
from verifier.wiring.service import create_service

tenant, admin = ({"Authorization": f"Bearer {key}"} for key in sys.argv[1:3])
bodies = json.load(sys.stdin)
requests = [
    *(("POST", "/v1/attestations", tenant, body) for body in bodies),
    *(("POST", "/v1/attestations", tenant, {"encoding": "pkcs7", "signature": "AAAA"}) for _ in range(2)),
    *(("POST", "/v1/nonces", tenant, None) for _ in range(4)),
    *(("GET", path, admin, None) for path in ("/v1/trust", "/metrics", "/readyz", "/healthz", "/openapi.json")),
    *(("GET", path, {}, None) for path in ("/v1/trust", "/.well-known/jwks.json", "/docs", "/nowhere")),
    ("POST", "/v1/nonces", {"Authorization": "Bearer wrong"}, None),
]
answers = Counter()

with shared_values():
    configure_logging()
    settings = load_settings()
    app = create_service(settings, MetricsRecorder(), start_up(settings)).app
    barrier = threading.Barrier(len(requests))

    def ask(method, path, headers, body):
        barrier.wait()
        answer = app.test_client().open(path, method=method, headers=headers, json=body)
        code = (answer.get_json(silent=True) or {}).get("code", "") if answer.status_code >= 400 else ""
        answers[f"{method} {path} {answer.status_code} {code}".strip()] += 1

    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=ask, args=request) for request in requests]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(json.dumps(answers))
"""


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_are_answered_as_all_later_ones(
    request: pytest.FixtureRequest, tmp_path: Path, trust_dir: Path, kind: str
) -> None:
    store = f"sqlite://{tmp_path}/nonces.sqlite3" if kind == "sqlite" else str(request.getfixturevalue("redis_url"))
    tenant = {"keys": [hashlib.sha256(TENANT.encode()).hexdigest()], "rate": "1000/hour"}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("VERIFIER_")},
        "VERIFIER_TRUST_DIR": str(trust_dir),
        "VERIFIER_NONCE_STORE": store,
        "VERIFIER_NONCE_MODE": "optional",
        "VERIFIER_TENANTS": json.dumps({tmp_path.name[-32:]: tenant}),
        "VERIFIER_ADMIN_KEYS": json.dumps({"ada": hashlib.sha256(ADMIN.encode()).hexdigest()}),
    }
    # Of different machines: what one machine gets twice within a second has one content.
    machines = [replace(VM, vm_id=str(uuid.uuid4())) for _ in range(DOCUMENTS)]
    documents = [imds_answer(current_document(None, vm=machine)) for machine in machines]
    ran = subprocess.run(
        [sys.executable, "-P", "-c", _FIRST_REQUESTS, TENANT, ADMIN],
        input=json.dumps(documents),
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    answers: Counter[str] = Counter(json.loads(ran.stdout))
    assert answers == {
        "POST /v1/attestations 200": DOCUMENTS,
        "POST /v1/attestations 400 malformed-evidence": 2,
        "POST /v1/nonces 201": 4,
        "POST /v1/nonces 401 unauthenticated": 1,
        "GET /v1/trust 200": 1,
        "GET /v1/trust 401 unauthenticated": 1,
        "GET /metrics 200": 1,
        "GET /readyz 200": 1,
        "GET /healthz 200": 1,
        "GET /openapi.json 200": 1,
        "GET /.well-known/jwks.json 200": 1,
        "GET /docs 200": 1,
        "GET /nowhere 404 not-found": 1,
    }
