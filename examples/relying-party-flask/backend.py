"""A licensing backend in Flask, with `verifier.relying_party`: it verifies the result token that a VM brings.

    POST /licenses, Authorization: DPoP TOKEN (or Bearer TOKEN), DPoP: PROOF  ->  201 {"vmId": ..., "product": ...}

    pip install imds-verifier-relying-party flask gunicorn
    VERIFIER_JWKS=https://verifier.example.com/.well-known/jwks.json TOKEN_ISSUER=https://verifier.example.com \
    TOKEN_AUDIENCE=contoso TENANT=contoso POLICY=appliance EXTERNAL_URL=https://licensing.example.com \
    gunicorn --threads 8 backend:app

One process serves, because MemoryReplayStore is for one process. A store over Redis: docs/integrate/relying-party.md.
"""

import os
import re

from flask import Flask, request

from verifier.relying_party import MemoryReplayStore, NotVerified, ResultVerifier

results = ResultVerifier(
    issuer=os.environ["TOKEN_ISSUER"],
    audience=os.environ["TOKEN_AUDIENCE"],
    tenant=os.environ["TENANT"],
    policies=[os.environ["POLICY"]],
    jwks=os.environ["VERIFIER_JWKS"],
    replay_store=MemoryReplayStore(),
)
# The address that VMs use. It is never taken from a request.
BASE = os.environ["EXTERNAL_URL"].rstrip("/")
if not re.fullmatch(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%/-]*)?", BASE):
    raise ValueError("EXTERNAL_URL must be https://HOST[:PORT][/PATH], without query and fragment")
URL = f"{BASE}/licenses"

app = Flask(__name__)


@app.post("/licenses")
def license_vm() -> tuple[dict[str, object], int]:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() not in {"dpop", "bearer"}:
        return {"error": "send the token in the header Authorization"}, 401
    try:
        machine = results.verify(token, request.headers.get("DPoP"), method=request.method, url=URL)
    except NotVerified as error:
        return {"code": error.code, "error": str(error)}, 503 if error.code.is_temporary else 403
    return {"vmId": machine.vm_id, "product": machine.plan.product if machine.plan else None}, 201
