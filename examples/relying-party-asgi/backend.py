"""A licensing backend as an ASGI application, with `verifier.relying_party`. It needs no framework.

    POST /licenses, Authorization: DPoP TOKEN (or Bearer TOKEN), DPoP: PROOF  ->  201 {"vmId": ..., "product": ...}

    pip install imds-verifier-relying-party gunicorn
    VERIFIER_JWKS=https://verifier.example.com/.well-known/jwks.json TOKEN_ISSUER=https://verifier.example.com \
    TOKEN_AUDIENCE=contoso TENANT=contoso POLICY=appliance EXTERNAL_URL=https://licensing.example.com \
    gunicorn --worker-class asgi backend:app

One process serves, because MemoryReplayStore is for one process. A store over Redis: docs/integrate/relying-party.md.
"""

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable
from typing import Any

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


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[dict[str, Any]], Awaitable[None]]
) -> None:
    del receive  # no part of a request's body is used
    if scope["type"] == "http":
        status, answer = await license_vm(scope)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


async def license_vm(scope: dict[str, Any]) -> tuple[int, dict[str, object]]:
    if (scope["method"], scope["path"]) != ("POST", "/licenses"):
        return 404, {"error": "post to /licenses"}
    # Repeated headers are joined, and are then no token and no proof.
    headers: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        headers[name] = f"{headers[name]}, {value.decode('latin-1')}" if name in headers else value.decode("latin-1")
    scheme, _, token = headers.get(b"authorization", "").partition(" ")
    if scheme.lower() not in {"dpop", "bearer"}:
        return 401, {"error": "send the token in the header Authorization"}
    try:
        # In a thread, because it may fetch the key set.
        machine = await asyncio.to_thread(results.verify, token, headers.get(b"dpop"), method=scope["method"], url=URL)
    except NotVerified as error:
        return 503 if error.code.is_temporary else 403, {"code": error.code, "error": str(error)}
    return 201, {"vmId": machine.vm_id, "product": machine.plan.product if machine.plan else None}
