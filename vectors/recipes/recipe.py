"""Describe a vector, and write its files."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Final

from support.documents import NONCE, NOW

from verifier.core.reasons import NONCE_RETRY_AFTER, Check, Reason

#: A policy as in the settings file, e.g. {"publishers": ["contoso"]}.
Policy = Mapping[str, object]


class Form(Enum):
    """Say how a document is posted: the name of the file, and the media type."""

    JSON = ("body.json", "application/json")
    TEXT = ("body.b64", "text/plain")
    PEM = ("body.pem", "text/plain")
    DER = ("body.der", "application/pkcs7-mime")
    CMS = ("body.der", "application/cms")
    BYTES = ("body.der", "application/octet-stream")
    DER_AS_JSON = ("body.der", "application/json")

    @property
    def file(self) -> str:
        return self.value[0]

    @property
    def media_type(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonce:
    """Describe a nonce that the service issued before the request."""

    value: str = NONCE
    tenant: str = "default"
    issued_at: datetime = NOW - timedelta(seconds=30)
    lifetime: timedelta = timedelta(seconds=300)
    vm_id: str = ""
    policy: str = ""
    used_at: datetime | None = None


ISSUED: Final = (Nonce(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Describe one vector. `name` is the name of its directory. An accepted one has no `reason` and no `check`."""

    name: str
    description: str
    body: bytes
    reason: Reason | None = None
    check: Check | None = None
    retry_after: timedelta | None = None
    form: Form = Form.JSON
    at: datetime = NOW
    nonces: tuple[Nonce, ...] = ISSUED
    request: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, Policy] = field(default_factory=dict)
    tenant_policy: str = "default"
    cloud: str = "AzurePublicCloud"
    #: The clouds that the verifier serves, if they are not the usual ones.
    clouds: tuple[str, ...] = ()
    nonce_mode: str = "required"
    #: The certificates that the verifier denies: `serial_numbers` and `spki_sha256`.
    denied: Mapping[str, object] = field(default_factory=dict)
    #: JSON bodies that are posted before.
    earlier: tuple[bytes, ...] = ()
    #: Whether a real authority issued the signer. The trust directory then needs no new one.
    is_real: bool = False

    def place(self, directory: Path) -> Path:
        return directory / (self.reason.value if self.reason else "verified") / self.name

    def write(self, directory: Path) -> None:
        place = self.place(directory)
        place.mkdir(parents=True)
        (place / self.form.file).write_bytes(self.body)
        for name, body in self._earlier():
            (place / name).write_bytes(body)
        (place / "case.toml").write_text("\n".join((*self._lines(), "")), encoding="utf-8")

    def _earlier(self) -> list[tuple[str, bytes]]:
        return [(f"earlier-{number}.json", body) for number, body in enumerate(self.earlier, 1)]

    def _lines(self) -> list[str]:
        lines = [
            f"description = {_toml(self.description)}",
            f"at = {_toml(self.at)}",
            f"body = {_toml(self.form.file)}",
            f"media_type = {_toml(self.form.media_type)}",
            *([f"tenant_policy = {_toml(self.tenant_policy)}"] if self.tenant_policy != "default" else []),
            *([f"clouds = {_toml(list(self.clouds))}"] if self.clouds else []),
            *([f"nonce_mode = {_toml(self.nonce_mode)}"] if self.nonce_mode != "required" else []),
            *_table("expected", self._expected()),
        ]
        for name, _ in self._earlier():
            lines += _table("[earlier]", {"body": name, "media_type": Form.JSON.media_type})
        if self.denied:
            lines += _table("denied", self.denied)
        if self.request:
            lines += _table("request", self.request)
        for nonce in self.nonces:
            lines += _table("[nonces]", _nonce_fields(nonce))
        for name, policy in self.policies.items():
            lines += _table(f"policies.{name}", policy)
        return lines

    def _expected(self) -> dict[str, object]:
        if self.reason is None or self.check is None:
            return {"verdict": "verified", "cloud": self.cloud}
        fields: dict[str, object] = {
            "verdict": "refused",
            "code": self.reason.value,
            "failing_check": self.check.value,
            "retryable": self.retry_after is not None,
        }
        if self.retry_after is not None:
            fields["retry_after_seconds"] = int(self.retry_after.total_seconds())
        return fields


RETRY: Final = NONCE_RETRY_AFTER


def posted(document: bytes, **request: str) -> bytes:
    """Return the JSON body with this document and these fields of the request."""
    signature = base64.b64encode(document).decode("ascii")
    return json.dumps({"encoding": "pkcs7", "signature": signature, **request}).encode()


def _nonce_fields(nonce: Nonce) -> dict[str, object]:
    fields: dict[str, object] = {
        "value": nonce.value,
        "issued_at": nonce.issued_at,
        "expires_at": nonce.issued_at + nonce.lifetime,
    }
    optional = {"vm_id": nonce.vm_id, "policy": nonce.policy, "used_at": nonce.used_at}
    fields |= {name: value for name, value in optional.items() if value}
    return fields if nonce.tenant == "default" else {"tenant": nonce.tenant, **fields}


def _table(name: str, fields: Mapping[str, object]) -> list[str]:
    return ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in fields.items())]


def _toml(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    # ASCII strings, numbers, booleans and lists of JSON are also valid TOML.
    return json.dumps(value)
